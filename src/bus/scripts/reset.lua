-- reset(uid, token, id…): a new plan, or a person: waiting events are tried at once and have all their retries again.
local uid, token = ARGV[1], ARGV[2]
if fenced(uid, token) then return { 'FENCED' } end
for i = 3, #ARGV do
  if call('HEXISTS', P .. 'try:' .. uid, ARGV[i]) == 1 then
    local try = get_try(uid, ARGV[i])
    try.n, try.next = 0, 0
    set_try(uid, ARGV[i], try)
  end
end
return { 'OK' }
