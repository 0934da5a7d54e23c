-- reset(uid, token, id… | *): a new plan, or a person: waiting events, or all that had trouble, are tried at once and have all their retries
-- again.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
local ids, from = ARGV, 3
if ARGV[3] == '*' then ids, from = call('HKEYS', P .. 'try:' .. uid), 1 end
for i = from, #ids do
  if call('HEXISTS', P .. 'try:' .. uid, ids[i]) == 1 then
    local try = get_try(uid, ids[i])
    try.n, try.next = 0, 0
    set_try(uid, ids[i], try)
  end
end
return { 'OK' }
