-- consumers(): of every destination what its queue should not have: uid, consumer, entries pending with it, for each consumer that is not
-- ours; uid, '', 0 where the queue or its group is missing.
local answer = {}
local function add(uid, name, pending)
  answer[#answer + 1] = uid
  answer[#answer + 1] = name
  answer[#answer + 1] = pending
end
for _, uid in ipairs(call('HKEYS', ROUTES)) do
  local q, there = P .. 'q:' .. uid, false
  for _, group in ipairs(is_stream(q) and call('XINFO', 'GROUPS', q) or {}) do
    if fields(group).name == 'delivery' then
      there = true
      for _, consumer in ipairs(call('XINFO', 'CONSUMERS', q, 'delivery')) do
        local c = fields(consumer)
        if c.name ~= 'w' then add(uid, c.name, c.pending) end
      end
    end
  end
  if not there then add(uid, '', 0) end
end
return answer
