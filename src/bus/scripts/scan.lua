-- scan(after, max, bytes): accepted events above `after`, 16 a step, until max entries or bytes.
local after, max, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local answer, bytes = {}, 0
repeat
  local step = call('XRANGE', IN, '(' .. after, '+', 'COUNT', math.min(16, max - #answer))
  for _, entry in ipairs(step) do
    answer[#answer + 1] = entry
    bytes = bytes + size_of(entry[2])
    after = entry[1]
  end
until #step == 0 or #answer >= max or bytes >= limit
return answer
