-- Shared by route and fill: appending to queues.

-- Most events that a call takes from the front of one queue: after a limit was lowered the rest follow with the next calls.
local MOST_DROPS = 5000

-- Opens a queue for appending: its counters are read once and written once.
-- limit: '' or policy, most events, most bytes ('-' for no limit) of spec.limits.backlog.
local function open_queue(uid, limit)
  local st = P .. 'st:' .. uid
  local c = call('HMGET', st, 'bytes', 'routed', 'want', 'dropped', 'overflow')
  local queue = {
    uid = uid, st = st, q = P .. 'q:' .. uid, wanted = c[3], overflow = c[5], appended = 0, kept = 0, dropped = 0, limited = 0,
    bytes = tonumber(c[1] or '0'), routed = tonumber(c[2] or '0'), drops = tonumber(c[4] or '0'),
    events = 0, max_events = math.huge, max_bytes = math.huge,
  }
  local policy, events, bytes = string.match(limit or '', '^(%a+) (%S+) (%S+)$')
  if policy then
    queue.policy, queue.max_events, queue.max_bytes = policy, tonumber(events) or math.huge, tonumber(bytes) or math.huge
    queue.events = length(queue.q)
    if queue.events == 0 then queue.bytes = 0 end
  end
  queue.has_room = queue.events * 10 < queue.max_events * 9 and queue.bytes * 10 < queue.max_bytes * 9
  return queue
end

-- XADD with the entry's own ID: true if it is new, false if it is already there. A queue that is gone is made again; a key that is no stream
-- gives nil and the error.
local function xadd(queue, id, flat)
  local got = redis.pcall('XADD', queue.q, 'NOMKSTREAM', id, unpack(flat))
  if not got or (type(got) == 'table' and got.err and string.find(got.err, 'WRONGTYPE', 1, true)) then
    repair(queue.uid)
    queue.bytes, queue.events, queue.routed = 0, 0, counter(queue.st, 'routed')
    got = redis.pcall('XADD', queue.q, 'NOMKSTREAM', id, unpack(flat))
  end
  if type(got) == 'table' and got.err then
    if string.find(got.err, 'equal or smaller', 1, true) then return false end
    return nil, got.err
  end
  return true
end

local function is_over_limit(queue, size)
  return queue.events + 1 > queue.max_events or queue.bytes + size > queue.max_bytes
end

-- An event beyond the quota or a limit does not fit, unless the queue is empty or has it already.
local function fits(queue, id, size, quota)
  if queue.bytes + size <= quota and not is_over_limit(queue, size) then return true end
  local last = last_id(queue.q)
  return not last or call('XLEN', queue.q) == 0 or not less(last, id)
end

-- false if the queue cannot take it: its key is no stream
local function append_to(queue, id, flat, size)
  local new = xadd(queue, id, flat)
  if new then
    queue.appended = queue.appended + 1
    queue.kept = queue.kept + 1
    queue.events = queue.events + 1
    queue.bytes = queue.bytes + size
  end
  return new ~= nil
end

-- XADD and XDEL: the ID is used up, the event counted as dropped.
local function drop_from(queue, id, flat)
  local new = xadd(queue, id, flat)
  if new then
    call('XDEL', queue.q, id)
    queue.appended = queue.appended + 1
    queue.dropped = queue.dropped + 1
  end
  return new ~= nil
end

-- The oldest go until the queue is within its limits; the newest one fits in any case.
local function drop_oldest(queue)
  while queue.events > 1 and queue.limited < MOST_DROPS and (queue.events > queue.max_events or queue.bytes > queue.max_bytes) do
    local oldest = call('XRANGE', queue.q, '-', '+', 'COUNT', 1)[1]
    redis.pcall('XACK', queue.q, 'delivery', oldest[1])
    call('XDEL', queue.q, oldest[1])
    call('HDEL', P .. 'try:' .. queue.uid, oldest[1])
    queue.events = queue.events - 1
    queue.bytes = math.max(0, queue.bytes - size_of(oldest[2]))
    queue.dropped = queue.dropped + 1
    queue.limited = queue.limited + 1
  end
end

-- Takes an event as the limits of its spec say, else if the quota of the bus allows it; false if it has to wait in the log.
local function take(queue, id, flat, size, quota)
  if not is_over_limit(queue, size) then return fits(queue, id, size, quota) and append_to(queue, id, flat, size) end
  if queue.policy == 'DropOldest' and size <= queue.max_bytes then
    local taken = append_to(queue, id, flat, size)
    if taken then drop_oldest(queue) end
    return taken
  end
  local before = queue.dropped
  local taken = drop_from(queue, id, flat)
  queue.limited = queue.limited + queue.dropped - before
  return taken
end

-- `overflow`: since when a limit drops events; until there is room again, so that it does not come and go with each event.
local function note_overflow(queue)
  if queue.limited > 0 then
    if call('HSETNX', queue.st, 'overflow', num(now())) == 1 then tell(queue.uid) end
  elseif queue.overflow and queue.has_room then
    call('HDEL', queue.st, 'overflow')
    tell(queue.uid)
  end
end

local function close_queue(queue)
  if queue.appended == 0 then return end
  call('HSET', queue.st, 'routed', num(queue.routed + queue.appended), 'bytes', num(queue.bytes), 'lastMatch', num(now()))
  if queue.dropped > 0 then call('HSET', queue.st, 'dropped', num(queue.drops + queue.dropped)) end
  note_overflow(queue)
  if queue.wanted and queue.kept > 0 then
    call('HDEL', queue.st, 'want')
    call('PUBLISH', P .. 'wake', queue.uid)
  end
end
