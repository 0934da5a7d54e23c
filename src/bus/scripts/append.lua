-- append(window ms, (hash, mode, attributes, content type, data)…): stores events, all or nothing.
-- NOBUS: say hello again. Each answer is an ID, with 1 behind it for an event that was stored before, inside the window.
if call('EXISTS', C) == 0 then return { 'NOBUS' } end
local pos = call('HGET', C, 'pos')
local window = ARGV[1]
local answer, stored = { 'OK' }, 0
for i = 2, #ARGV, 5 do
  local seen = P .. 'seen:' .. ARGV[i]
  local id = call('GET', seen)
  if id then
    -- a write, so that a WAIT that follows covers the first copy too
    call('PEXPIRE', seen, window)
    answer[#answer + 1] = id
    answer[#answer + 1] = 1
  else
    id = accept(pos, 'v', 1, 'm', ARGV[i + 1], 'a', ARGV[i + 2], 'c', ARGV[i + 3], 'd', ARGV[i + 4])
    call('SET', seen, id, 'PX', window)
    stored = stored + 1
    answer[#answer + 1] = id
    answer[#answer + 1] = 0
  end
end
if stored > 0 then call('HINCRBY', C, 'accepted', stored) end
return answer
