-- Shared by append, redrive and bury: the log.

-- XADD onto the log, above the cursor. A log that was deleted begins anew below it: it is lifted, or nobody would route what comes.
local function accept(pos, ...)
  local id = call('XADD', IN, '*', ...)
  if less(pos, id) then return id end
  call('XDEL', IN, id)
  local floor = next_id(pos)
  call('XADD', IN, floor, 'v', 1)
  call('XDEL', IN, floor)
  return call('XADD', IN, '*', ...)
end
