-- letters(uid, after, max, bytes, bare): dead letters above `after`, 16 a step, until max or about so many bytes; with `bare` their data is
-- left out, and counts for nothing.
local key, after, max, limit, bare = P .. 'dead:' .. ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'

local answer, bytes = {}, 0
repeat
  local step = call('XRANGE', key, '(' .. after, '+', 'COUNT', math.min(16, max - #answer))
  for _, entry in ipairs(step) do
    after = entry[1]
    if bare then entry[2] = without(entry[2], { d = true }, {}) end
    answer[#answer + 1] = entry
    bytes = bytes + size_of(entry[2])
  end
until #step == 0 or #answer >= max or bytes >= limit
return answer
