-- fail(uid, token, id, n, class, code, msg, wait ms): records a failed attempt before the next one is made; no wait: none is planned.
local uid, token, id, n = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if fenced(uid, token) then return { 'FENCED' } end
if gone(uid, id) then return { 'GONE' } end
local try, at = get_try(uid, id), now()
try.n, try.open, try.solo = n, false, false
try.class, try.code, try.msg = ARGV[5], tonumber(ARGV[6]), ARGV[7]
try.first = try.first or at
try.next = ARGV[8] == '' and 0 or at + tonumber(ARGV[8])
set_try(uid, id, try)
local st = P .. 'st:' .. uid
call('HINCRBY', st, 'failed', 1)
if n > 1 then call('HINCRBY', st, 'retried', 1) end
return { 'OK' }
