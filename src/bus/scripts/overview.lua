-- overview(): the bus as a whole at this moment: now, cursor, trimmed, accepted, unmatched, events kept in the log, the last ID that it gave,
-- TTL of the router's lease (ms; below 0: none), the first event that is not routed yet and how many there are (100 at most).
local c = call('HMGET', C, 'pos', 'trimmed', 'accepted', 'unmatched')
local pos = c[1] or '0-0'
local unrouted = {}
if is_stream(IN) then unrouted = call('XRANGE', IN, '(' .. pos, '+', 'COUNT', 100) end
return { num(now()), pos, c[2] or '0-0', c[3] or '0', c[4] or '0', length(IN), last_id(IN) or '0-0', call('PTTL', P .. 'own:router'),
  unrouted[1] and unrouted[1][1] or '', #unrouted }
