-- renew(uid, token, ttl ms): prolongs a lease; answers what a person asked for, whether it is halted, and the backlog.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
call('PEXPIRE', P .. 'own:' .. uid, ARGV[3])
local st = call('HMGET', P .. 'st:' .. uid, 'ask', 'halted')
return { 'OK', st[1] or '', st[2] or '', call('XLEN', P .. 'q:' .. uid), num(now()) }
