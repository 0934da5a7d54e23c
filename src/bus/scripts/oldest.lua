-- oldest(after, bytes): the ID up to which the oldest accepted events add up to so many bytes; '' if there are none.
-- At most 10,000 events are looked at in one call.
local after, limit = ARGV[1], tonumber(ARGV[2])
local bytes, count = 0, 0
local reached = ''
repeat
  local step = call('XRANGE', IN, '(' .. after, '+', 'COUNT', 64)
  for _, entry in ipairs(step) do
    after = entry[1]
    reached = after
    bytes = bytes + size_of(entry[2])
    count = count + 1
    if bytes >= limit then return reached end
  end
until #step == 0 or count >= 10000
return reached
