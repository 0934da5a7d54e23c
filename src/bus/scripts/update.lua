-- update(uid, rev, route): what is above the cursor is decided by the new route, what is at or below it was decided by the old one.
-- GONE: no such destination. STALE: a newer revision is there; 'force' replaces that too.
local uid, rev, route, force = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local old = call('HGET', ROUTES, uid)
if not old then return { 'GONE' } end
-- a name that someone deleted
local new = cjson.decode(route)
call('HSETNX', NAMES, new.namespace .. '/' .. new.name, uid)
if old == route then return { 'OK' } end
-- a route that cannot be read is older than any other
local read, known = pcall(cjson.decode, old)
if force ~= 'force' and read and type(known) == 'table' and (tonumber(known.rev) or 0) > rev then return { 'STALE' } end
call('HSET', ROUTES, uid, route)
changed(uid)
return { 'OK' }
