-- release(uid, token): gives a lease back and wakes whoever waits for it.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
call('DEL', P .. 'own:' .. uid)
call('PUBLISH', P .. 'wake', uid)
return { 'OK' }
