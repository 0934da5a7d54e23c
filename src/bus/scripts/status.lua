-- status(uid): all that is known of one destination at this moment: now, backlog, dead letters, state, owned, fill, cursor, head, its try,
-- its route.
local uid = ARGV[1]
local q = P .. 'q:' .. uid
local backlog = length(q)
local head = backlog > 0 and call('XRANGE', q, '-', '+', 'COUNT', 1)[1]
local id, attributes, try = '', '', ''
if head then
  id = head[1]
  attributes = fields(head[2]).a or ''
  try = call('HGET', P .. 'try:' .. uid, id) or ''
end
return { num(now()), backlog, length(P .. 'dead:' .. uid), call('HGETALL', P .. 'st:' .. uid), call('EXISTS', P .. 'own:' .. uid),
  call('HGET', FILLS, uid) or '', call('HGET', C, 'pos') or '0-0', id, attributes, try,
  call('HGET', ROUTES, uid) or '' }
