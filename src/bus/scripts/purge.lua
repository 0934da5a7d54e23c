-- purge(uid, id…): removes dead letters; answers how many were there. GONE: no such destination.
local uid = ARGV[1]
if call('HEXISTS', ROUTES, uid) == 0 then return { 'GONE' } end
local purged = call('XDEL', P .. 'dead:' .. uid, unpack(ARGV, 2))
if purged > 0 then
  call('HINCRBY', P .. 'st:' .. uid, 'purged', purged)
  tell(uid)
end
return { 'OK', purged }
