-- report(uid, token, state, reason, plan, order, asked): what the worker does, in which order, and which request of a person it has answered.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
local st = P .. 'st:' .. uid
local before = call('HMGET', st, 'state', 'plan', 'asked')
-- whether it has anything to do is no news
local function calm(state)
  return state == 'Idle' or state == 'Active' or state == 'RateLimited'
end
call('HSET', st, 'state', ARGV[3], 'reason', ARGV[4], 'plan', ARGV[5], 'order', ARGV[6], 'at', num(now()))
if ARGV[7] ~= '' then
  call('HSET', st, 'asked', ARGV[7])
  local ask = call('HGET', st, 'ask')
  if ask and string.match(ask, '%S+$') == ARGV[7] then call('HDEL', st, 'ask') end
end
local same = before[1] == ARGV[3] or (calm(before[1]) and calm(ARGV[3]))
if not same or before[2] ~= ARGV[5] or (ARGV[7] ~= '' and before[3] ~= ARGV[7]) then tell(uid) end
return { 'OK' }
