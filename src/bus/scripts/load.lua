-- load(since): cursor, and the routes changed since that generation ('' for all): uid, route ('' if gone), start, fill ('' if live).
local since = ARGV[1]
local c = call('HMGET', C, 'pos', 'gen', 'trimmed')
local uids
if since == '' then
  uids = call('HKEYS', ROUTES)
else
  uids = call('ZRANGEBYSCORE', CHANGES, '(' .. since, '+inf')
end
local answer = { c[1] or '0-0', c[2] or '0', c[3] or '0-0' }
for _, uid in ipairs(uids) do
  answer[#answer + 1] = uid
  answer[#answer + 1] = call('HGET', ROUTES, uid) or ''
  answer[#answer + 1] = call('HGET', P .. 'st:' .. uid, 'start') or '0-0'
  answer[#answer + 1] = call('HGET', FILLS, uid) or ''
end
return answer
