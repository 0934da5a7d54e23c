-- sizes(uid…): of every queue that is not empty: uid, bytes, events, and how many events ever left it. No uid: of all destinations.
local uids = ARGV
if #uids == 0 then uids = call('HKEYS', ROUTES) end
local answer = {}
for _, uid in ipairs(uids) do
  local c = call('HMGET', P .. 'st:' .. uid, 'bytes', 'routed', 'settled', 'buried', 'dropped', 'lost')
  if c[1] and c[1] ~= '0' then
    local left = 0
    for i = 3, 6 do left = left + tonumber(c[i] or '0') end
    for _, value in ipairs({ uid, c[1], num(tonumber(c[2] or '0') - left), num(tonumber(c[3] or '0') + tonumber(c[4] or '0')) }) do
      answer[#answer + 1] = value
    end
  end
end
return answer
