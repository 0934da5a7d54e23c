-- update(uid, rev, route): what is above the cursor is decided by the new route, what is at or below it was decided by the old one.
-- GONE: no such destination. STALE: a newer revision is there.
local uid, rev, route = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local old = call('HGET', ROUTES, uid)
if not old then return { 'GONE' } end
if old == route then return { 'OK' } end
-- a route that cannot be read is older than any other
local read, known = pcall(cjson.decode, old)
if read and type(known) == 'table' and (tonumber(known.rev) or 0) > rev then return { 'STALE' } end
call('HSET', ROUTES, uid, route)
changed(uid)
return { 'OK' }
