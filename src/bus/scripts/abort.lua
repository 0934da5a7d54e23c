-- abort(uid, token, id): takes back an attempt that we ended ourselves.
local uid, token, id = ARGV[1], ARGV[2], ARGV[3]
if fenced(uid, token) then return { 'FENCED' } end
if gone(uid, id) then return { 'GONE' } end
local try = get_try(uid, id)
if try.open then
  try.open, try.solo, try.n = false, false, math.max(0, try.n - 1)
  set_try(uid, id, try)
end
return { 'OK' }
