-- hello(hist): makes the bus known to a new connection; hist = run_id:master_replid.
-- Refuses a bus written by a newer version. A restart or promotion lifts the next ID above every one that may have been lost.
local v = call('HGET', C, 'v')
if v and v ~= '1' then return { 'VERSION', v } end
make_bus()
if call('HGET', C, 'hist') ~= ARGV[1] then
  local ms = now() + 10000
  local last = last_id(IN)
  if last then ms = math.max(ms, (parts(last)) + 1) end
  local pos = parts(call('HGET', C, 'pos'))
  ms = math.max(ms, pos + 1)
  local id = num(ms) .. '-0'
  call('XADD', IN, id, 'v', 1)
  call('XDEL', IN, id)
  call('HSET', C, 'hist', ARGV[1])
end
return { 'OK' }
