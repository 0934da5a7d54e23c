-- fill_drop(token, uid, exp, new, gen, (id, number of values, field, value, …)…): like fill, for entries that the bus no longer keeps:
-- each is counted as dropped. Runs when memory is full.
local token, uid, exp, new, gen = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if call('GET', P .. 'own:router') ~= token then return { 'FENCED' } end
local c = call('HMGET', C, 'pos', 'gen')
if c[2] ~= gen or call('HGET', FILLS, uid) ~= exp or less(c[1], new) then return { 'STALE', c[1] or '0-0', c[2] or '0' } end

local queue = open_queue(uid)
local at = 6
while at <= #ARGV do
  local id, width = ARGV[at], tonumber(ARGV[at + 1])
  local flat = {}
  for k = 1, width do flat[k] = ARGV[at + 1 + k] end
  if not drop_from(queue, id, flat) then break end
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
