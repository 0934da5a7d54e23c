-- read(uid, token, after, max, bytes, held): entries above `after`, first those pending, then new ones, in the order of their IDs.
-- Each entry: ID, fields, its try ('' if it had no trouble), 1 if it was pending. Fewer than max: asks for a wake-up.
local uid, token, after = ARGV[1], ARGV[2], ARGV[3]
local max, limit, held = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if fenced(uid, token) then return { 'FENCED' } end
local q, st = P .. 'q:' .. uid, P .. 'st:' .. uid
if not is_stream(q) then repair(uid) end
local answer, bytes = {}, 0

local function take(from, pending)
  repeat
    local got = call('XREADGROUP', 'GROUP', 'delivery', 'w', 'COUNT', math.min(8, max - #answer), 'STREAMS', q, from)
    local entries = got and got[1] and got[1][2] or {}
    for _, entry in ipairs(entries) do
      if entry[2] then
        local try = call('HGET', P .. 'try:' .. uid, entry[1]) or ''
        answer[#answer + 1] = { entry[1], entry[2], try, pending }
        bytes = bytes + size_of(entry[2])
      else
        -- someone deleted it while it was pending
        call('XACK', q, 'delivery', entry[1])
        call('HDEL', P .. 'try:' .. uid, entry[1])
      end
      if pending == 1 then from = entry[1] end
    end
  until #entries == 0 or #answer >= max or bytes >= limit
  return #answer < max and bytes < limit
end

local room = take(after, 1)
if room then room = take('>', 0) end
if #answer == 0 and held == 0 and call('XLEN', q) > 0 then
  -- somebody moved the group past entries that are still owed
  call('XGROUP', 'SETID', q, 'delivery', '0')
  room = take('>', 0)
end
if room then call('HSET', st, 'want', 1) end
return { 'OK', answer }
