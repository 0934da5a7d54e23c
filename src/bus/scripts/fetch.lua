-- fetch(uid, token, bytes, id…): entries of the queue by their IDs, as `read` answers them, until so many bytes; the first of them always.
-- What is no longer in the queue is forgotten. Answers the entries and the IDs that are gone.
local uid, token, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
if fenced(uid, token) then return { 'FENCED' } end
local q, entries, missing, bytes = P .. 'q:' .. uid, {}, {}, 0
for i = 4, #ARGV do
  if bytes >= limit then break end
  local entry = is_stream(q) and call('XRANGE', q, ARGV[i], ARGV[i])[1]
  if entry then
    entries[#entries + 1] = { entry[1], entry[2], call('HGET', P .. 'try:' .. uid, entry[1]) or '', 0 }
    bytes = bytes + size_of(entry[2])
  else
    redis.pcall('XACK', q, 'delivery', ARGV[i])
    call('HDEL', P .. 'try:' .. uid, ARGV[i])
    missing[#missing + 1] = ARGV[i]
  end
end
return { 'OK', entries, missing }
