-- ask(uid, retry | skip, id, nonce, '' | ask | note): what a person wants of the worker; answered by `asked` = nonce. GONE: no such destination.
-- With `ask` it is asked once: REPEATED if the last such request of this kind had the same nonce. With `note` it is only remembered as such.
local uid, verb, nonce, once = ARGV[1], ARGV[2], ARGV[4], ARGV[5]
if call('HEXISTS', ROUTES, uid) == 0 then return { 'GONE' } end
local st = P .. 'st:' .. uid
if once ~= '' then
  if call('HGET', st, 'once:' .. verb) == nonce then return { 'REPEATED' } end
  call('HSET', st, 'once:' .. verb, nonce)
  if once == 'note' then return { 'OK' } end
end
call('HSET', st, 'ask', verb .. ' ' .. ARGV[3] .. ' ' .. nonce)
call('PUBLISH', P .. 'wake', uid)
return { 'OK' }
