-- sizes(): uid and bytes of every queue that is not empty.
local answer = {}
for _, uid in ipairs(call('HKEYS', ROUTES)) do
  local bytes = call('HGET', P .. 'st:' .. uid, 'bytes') or '0'
  if bytes ~= '0' then
    answer[#answer + 1] = uid
    answer[#answer + 1] = bytes
  end
end
return answer
