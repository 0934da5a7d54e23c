-- letters(uid, after, max, bytes, bare): dead letters above `after`, 16 a step, until max or about so many bytes; with `bare` their data is
-- left out, and counts for nothing.
local key, after, max, limit, bare = P .. 'dead:' .. ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local function without_data(flat)
  local kept = {}
  for i = 1, #flat, 2 do
    if flat[i] ~= 'd' then
      kept[#kept + 1] = flat[i]
      kept[#kept + 1] = flat[i + 1]
    end
  end
  return kept
end

local answer, bytes = {}, 0
repeat
  local step = call('XRANGE', key, '(' .. after, '+', 'COUNT', math.min(16, max - #answer))
  for _, entry in ipairs(step) do
    after = entry[1]
    if bare then entry[2] = without_data(entry[2]) end
    answer[#answer + 1] = entry
    bytes = bytes + size_of(entry[2])
  end
until #step == 0 or #answer >= max or bytes >= limit
return answer
