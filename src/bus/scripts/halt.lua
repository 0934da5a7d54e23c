-- halt(uid, token, reason): the destination, not an event, is wrong; keeps the time of the first halt.
local uid, token, reason = ARGV[1], ARGV[2], ARGV[3]
if fenced(uid, token) then return { 'FENCED' } end
local st = P .. 'st:' .. uid
local old = call('HGET', st, 'halted')
if not old or string.match(old, '^%S+') ~= reason then
  call('HSET', st, 'halted', reason .. ' ' .. num(now()))
  tell(uid)
end
return { 'OK' }
