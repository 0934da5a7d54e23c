-- settle(uid, token, (id, size, n)…): removes delivered events. What is no longer there is not counted.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
local q, st = P .. 'q:' .. uid, P .. 'st:' .. uid
local ids, settled, bytes, retried = {}, 0, 0, 0
for i = 3, #ARGV, 3 do
  local id = ARGV[i]
  ids[#ids + 1] = id
  if call('XDEL', q, id) == 1 then
    settled = settled + 1
    bytes = bytes + tonumber(ARGV[i + 1])
  end
  if tonumber(ARGV[i + 2]) > 1 then retried = retried + 1 end
end
redis.pcall('XACK', q, 'delivery', unpack(ids))
call('HDEL', P .. 'try:' .. uid, unpack(ids))
free_bytes(uid, bytes)
call('HSET', st, 'settled', num(counter(st, 'settled') + settled), 'lastOK', num(now()))
if retried > 0 then call('HINCRBY', st, 'retried', retried) end
call('HDEL', st, 'streak', 'evstreak', 'halted')
return { 'OK', settled }
