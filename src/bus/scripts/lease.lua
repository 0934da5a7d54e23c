-- lease(uid, new, ttl ms): takes a queue for one owner and heals what is missing of it.
-- NOROUTE: no such destination. BUSY: another process has it. OK and the fields of its state.
local uid, new, ttl = ARGV[1], ARGV[2], ARGV[3]
if call('HEXISTS', ROUTES, uid) == 0 then return { 'NOROUTE' } end
local own = call('GET', P .. 'own:' .. uid)
if own and not same_process(own, new) then return { 'BUSY' } end
call('SET', P .. 'own:' .. uid, new, 'PX', ttl)
if not own then tell(uid) end
local q = P .. 'q:' .. uid
if not is_stream(q) then repair(uid) end
ensure_group(uid)
balance(uid)
for _, consumer in ipairs(call('XINFO', 'CONSUMERS', q, 'delivery')) do
  local c = fields(consumer)
  if c.name ~= 'w' and c.pending > 0 then
    local from = '0-0'
    repeat
      local claimed = call('XAUTOCLAIM', q, 'delivery', 'w', 0, from, 'JUSTID')
      from = claimed[1]
      -- deleted while they were pending
      for _, id in ipairs(claimed[3]) do call('HDEL', P .. 'try:' .. uid, id) end
    until from == '0-0'
    break
  end
end
return { 'OK', call('HGETALL', P .. 'st:' .. uid), num(now()) }
