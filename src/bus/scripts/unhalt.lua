-- unhalt(uid, token): a new plan, a new Secret or a person: the destination is tried again as if it had not failed.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
if call('HDEL', P .. 'st:' .. uid, 'halted') == 1 then tell(uid) end
call('HDEL', P .. 'st:' .. uid, 'streak', 'evstreak')
return { 'OK' }
