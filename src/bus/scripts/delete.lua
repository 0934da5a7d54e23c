-- delete(uid, namespace/name): removes a destination and all it holds; answers what it held. Repeating it is harmless.
local uid, name = ARGV[1], ARGV[2]
local backlog, dead = length(P .. 'q:' .. uid), length(P .. 'dead:' .. uid)
local known = call('HDEL', ROUTES, uid)
if call('HGET', NAMES, name) == uid then call('HDEL', NAMES, name) end
call('HDEL', FILLS, uid)
if known == 1 then changed(uid) end
call('UNLINK', P .. 'q:' .. uid, P .. 'st:' .. uid, P .. 'try:' .. uid, P .. 'own:' .. uid, P .. 'dead:' .. uid)
return { 'OK', backlog, dead }
