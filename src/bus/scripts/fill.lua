-- fill(token, uid, exp, new, gen, quota, limit, (id, number of values, field, value, …)…): brings a destination that is behind the cursor forward
-- from exp to new with the entries that it wants; stops before the first one that does not fit.
-- OK position gen: '' as position once it has caught up with the cursor and is live.
local token, uid, exp, new, gen, quota = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if call('GET', P .. 'own:router') ~= token then return { 'FENCED' } end
local c = call('HMGET', C, 'pos', 'gen')
if c[2] ~= gen or call('HGET', FILLS, uid) ~= exp or less(c[1], new) then return { 'STALE', c[1] or '0-0', c[2] or '0' } end

local queue = open_queue(uid, ARGV[7])
local reached, at = exp, 8
while at <= #ARGV do
  local id, width = ARGV[at], tonumber(ARGV[at + 1])
  local flat = {}
  for k = 1, width do flat[k] = ARGV[at + 1 + k] end
  local size = size_of(flat)
  if not fits(queue, id, size, quota) or not append_to(queue, id, flat, size) then
    new = reached
    break
  end
  reached = id
  at = at + 2 + width
end
close_queue(queue)

if new == c[1] then
  call('HDEL', FILLS, uid)
  tell(uid)
  return { 'OK', '', num(changed(uid)) }
end
call('HSET', FILLS, uid, new)
return { 'OK', new, gen }
