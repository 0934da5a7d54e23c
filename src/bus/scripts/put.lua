-- Shared by route and fill: appending to queues.

-- Opens a queue for appending: its counters are read once and written once.
local function open_queue(uid)
  local st = P .. 'st:' .. uid
  local c = call('HMGET', st, 'bytes', 'routed', 'want', 'dropped')
  return {
    uid = uid, st = st, q = P .. 'q:' .. uid, wanted = c[3], appended = 0, dropped = 0,
    bytes = tonumber(c[1] or '0'), routed = tonumber(c[2] or '0'), drops = tonumber(c[4] or '0'),
  }
end

-- XADD with the entry's own ID: true if it is new, false if it is already there. A queue that is gone is made again; a key that is no stream
-- gives nil and the error.
local function xadd(queue, id, flat)
  local got = redis.pcall('XADD', queue.q, 'NOMKSTREAM', id, unpack(flat))
  if not got or (type(got) == 'table' and got.err and string.find(got.err, 'WRONGTYPE', 1, true)) then
    repair(queue.uid)
    queue.bytes, queue.routed = 0, counter(queue.st, 'routed')
    got = redis.pcall('XADD', queue.q, 'NOMKSTREAM', id, unpack(flat))
  end
  if type(got) == 'table' and got.err then
    if string.find(got.err, 'equal or smaller', 1, true) then return false end
    return nil, got.err
  end
  return true
end

-- An event beyond the quota does not fit, unless the queue is empty or has it already.
local function fits(queue, id, size, quota)
  if queue.bytes + size <= quota then return true end
  local last = last_id(queue.q)
  return not last or call('XLEN', queue.q) == 0 or not less(last, id)
end

-- false if the queue cannot take it: its key is no stream
local function append_to(queue, id, flat, size)
  local new = xadd(queue, id, flat)
  if new then
    queue.appended = queue.appended + 1
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

local function close_queue(queue)
  if queue.appended == 0 then return end
  call('HSET', queue.st, 'routed', num(queue.routed + queue.appended), 'bytes', num(queue.bytes), 'lastMatch', num(now()))
  if queue.dropped > 0 then call('HSET', queue.st, 'dropped', num(queue.drops + queue.dropped)) end
  if queue.wanted and queue.appended > queue.dropped then
    call('HDEL', queue.st, 'want')
    call('PUBLISH', P .. 'wake', queue.uid)
  end
end
