-- ask(uid, retry | skip, id, nonce): what a person wants of the worker; answered by `asked` = nonce. GONE: no such destination.
local uid = ARGV[1]
if call('HEXISTS', ROUTES, uid) == 0 then return { 'GONE' } end
call('HSET', P .. 'st:' .. uid, 'ask', ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
call('PUBLISH', P .. 'wake', uid)
return { 'OK' }
