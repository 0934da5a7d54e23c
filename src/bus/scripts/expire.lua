-- expire(token, uid, age ms): removes dead letters older than this; answers how many. Called by the router.
local token, uid = ARGV[1], ARGV[2]
if call('GET', P .. 'own:router') ~= token then return { 'FENCED' } end
local bound = now() - tonumber(ARGV[3])
if bound <= 0 then return { 'OK', 0 } end
local purged = call('XTRIM', P .. 'dead:' .. uid, 'MINID', '=', num(bound) .. '-0')
if purged > 0 then call('HINCRBY', P .. 'st:' .. uid, 'purged', purged) end
return { 'OK', purged }
