-- status(uid): all that is known of one destination at this moment: now, backlog, dead letters, state, owned, fill, cursor, head, its try,
-- its route, and 1 or 0: whether the destination is there that its dead letters are sent to as well.
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
-- one that this version cannot read names none
local text = call('HGET', ROUTES, uid) or ''
local read, route = pcall(cjson.decode, text)
local known = read and type(route) == 'table' and type(route.deadLettersTo) == 'string'
local target = known and call('HGET', NAMES, (route.namespace or '') .. '/' .. route.deadLettersTo)
local has_target = target and call('HEXISTS', ROUTES, target) or 0
return { num(now()), backlog, length(P .. 'dead:' .. uid), call('HGETALL', P .. 'st:' .. uid), call('EXISTS', P .. 'own:' .. uid),
  call('HGET', FILLS, uid) or '', call('HGET', C, 'pos') or '0-0', id, attributes, try,
  text, has_target }
