-- begin(uid, token, id, n, solo, mine): counts an attempt before it is made. Found open while it was tried alone, and not by this very
-- process: that attempt killed its worker. Answers how often that happened.
local uid, token, id, n, solo, mine = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6] == '1'
if fenced(uid, token) then return { 'FENCED' } end
if gone(uid, id) then return { 'GONE' } end
local try = get_try(uid, id)
if try.open and try.solo and not mine then try.deaths = (try.deaths or 0) + 1 end
try.n, try.open, try.solo = n, true, solo
set_try(uid, id, try)
return { 'OK', try.deaths or 0 }
