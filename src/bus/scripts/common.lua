-- Shared by every script. KEYS[1] is ph:{bus}:cursor; every other key of the bus has the same hash tag.
local P = string.sub(KEYS[1], 1, -7)
local C, IN, ROUTES, NAMES, FILLS, CHANGES = KEYS[1], P .. 'in', P .. 'routes', P .. 'names', P .. 'fills', P .. 'changes'
local call = redis.call

local function now()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- a whole number as text; tostring would turn large ones into 1e+15
local function num(n)
  return string.format('%.0f', n)
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function less(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am < bm or (am == bm and as < bs)
end

local function later(a, b)
  if less(a, b) then return b end
  return a
end

local function next_id(id)
  local ms, seq = parts(id)
  -- the last one of its millisecond, see before_time
  if seq >= 2 ^ 53 then return num(ms + 1) .. '-0' end
  return num(ms) .. '-' .. num(seq + 1)
end

-- the last ID before a time, which is text: all that is accepted at it or later is above
local function before_time(ms)
  ms = tonumber(ms)
  if ms == 0 then return '0-0' end
  return num(ms - 1) .. '-18446744073709551615'
end

local function is_stream(key)
  return call('TYPE', key).ok == 'stream'
end

local function length(key)
  if is_stream(key) then return call('XLEN', key) end
  return 0
end

-- last ID that a stream ever gave; nil where there is no stream
local function last_id(key)
  if not is_stream(key) then return nil end
  local info = call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end

-- tokens are identity.random: the identity of the process, and what fences
local function same_process(a, b)
  return string.match(a, '^[^.]*') == string.match(b, '^[^.]*')
end

local function fenced(uid, token)
  return call('GET', P .. 'own:' .. uid) ~= token
end

-- the control plane's generation: who routes must have seen it
local function changed(uid)
  local gen = call('HINCRBY', C, 'gen', 1)
  call('ZADD', CHANGES, gen, uid)
  return gen
end

-- a hint for whoever shows how a destination does; never on the way of an event that is delivered
local function tell(uid)
  call('PUBLISH', P .. 'state', uid)
end

local function counter(st, name)
  return tonumber(call('HGET', st, name) or '0')
end

-- field values of an entry by name
local function fields(flat)
  local f = {}
  for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
  return f
end

-- what is in `kept`, and the fields of an entry that are not named
local function without(flat, names, kept)
  for i = 1, #flat, 2 do
    if not names[flat[i]] then
      kept[#kept + 1] = flat[i]
      kept[#kept + 1] = flat[i + 1]
    end
  end
  return kept
end

local function size_of(flat)
  local size = 0
  for i = 2, #flat, 2 do size = size + #flat[i] end
  return size
end

-- what the bus itself needs; a generation is never given out twice, even if the cursor was deleted
local function make_bus()
  call('HSETNX', C, 'v', 1)
  call('HSETNX', C, 'pos', '0-0')
  call('HSETNX', C, 'gen', call('ZREVRANGE', CHANGES, 0, 0, 'WITHSCORES')[2] or 0)
  call('HSETNX', C, 'trimmed', '0-0')
end

-- Makes the counters agree with the queue again, after someone deleted entries, the queue or the counters from Redis.
local function balance(uid)
  local st = P .. 'st:' .. uid
  local c = call('HMGET', st, 'settled', 'buried', 'dropped', 'lost')
  local routed, known = counter(st, 'routed'), length(P .. 'q:' .. uid)
  for i = 1, 4 do known = known + tonumber(c[i] or '0') end
  if known < routed then
    call('HINCRBY', st, 'lost', routed - known)
    call('HSET', st, 'dataLost', num(now()))
    tell(uid)
  elseif known > routed then
    call('HINCRBY', st, 'routed', known - routed)
  end
end

-- A queue that will give no ID at or below the floor. A key of another kind in its place goes.
local function make_queue(uid, floor)
  local q = P .. 'q:' .. uid
  call('UNLINK', q)
  call('XGROUP', 'CREATE', q, 'delivery', '0', 'MKSTREAM')
  if floor ~= '0-0' then call('XSETID', q, floor) end
end

-- the same for a queue that was there: what was in it is lost
local function remake_queue(uid, floor)
  make_queue(uid, floor)
  balance(uid)
  call('DEL', P .. 'try:' .. uid)
  call('HSET', P .. 'st:' .. uid, 'bytes', 0, 'dataLost', num(now()))
  tell(uid)
end

-- the queue of a known destination is gone: make it again, at or above all that it ever held
local function repair(uid)
  local start = call('HGET', P .. 'st:' .. uid, 'start') or '0-0'
  local reached = call('HGET', FILLS, uid) or call('HGET', C, 'pos') or '0-0'
  remake_queue(uid, later(start, reached))
end

-- a queue holds what is owed and no more, so its group begins at its beginning
local function ensure_group(uid)
  local q = P .. 'q:' .. uid
  for _, group in ipairs(call('XINFO', 'GROUPS', q)) do
    if fields(group).name == 'delivery' then return end
  end
  call('XGROUP', 'CREATE', q, 'delivery', '0')
end

-- bytes that left a queue
local function free_bytes(uid, bytes)
  local st = P .. 'st:' .. uid
  if length(P .. 'q:' .. uid) == 0 then
    bytes = 0
  else
    bytes = math.max(0, counter(st, 'bytes') - bytes)
  end
  call('HSET', st, 'bytes', num(bytes))
end

-- an entry that is no longer in the queue: forget it everywhere
local function gone(uid, id)
  local q = P .. 'q:' .. uid
  if #call('XRANGE', q, id, id) > 0 then return false end
  redis.pcall('XACK', q, 'delivery', id)
  call('HDEL', P .. 'try:' .. uid, id)
  return true
end

-- what is known of an event in trouble; a field that is damaged counts as none
local function get_try(uid, id)
  local text = call('HGET', P .. 'try:' .. uid, id)
  local read, try = pcall(cjson.decode, text or '')
  if read and type(try) == 'table' then return try end
  return { n = 0, open = false, solo = false, deaths = 0 }
end

local function set_try(uid, id, try)
  call('HSET', P .. 'try:' .. uid, id, cjson.encode(try))
end
