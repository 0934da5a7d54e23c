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
  return num(ms) .. '-' .. num(seq + 1)
end

-- last ID that a stream ever gave; nil where there is no stream
local function last_id(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then return nil end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
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

local function counter(st, name)
  return tonumber(call('HGET', st, name) or '0')
end

-- field values of an entry by name
local function fields(flat)
  local f = {}
  for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
  return f
end

local function size_of(flat)
  local size = 0
  for i = 2, #flat, 2 do size = size + #flat[i] end
  return size
end

-- what was in a queue that someone deleted is counted as lost
local function count_lost(uid)
  local st = P .. 'st:' .. uid
  local c = call('HMGET', st, 'routed', 'settled', 'buried', 'dropped', 'lost')
  local owed = tonumber(c[1] or '0')
  for i = 2, 5 do owed = owed - tonumber(c[i] or '0') end
  if owed > 0 then call('HINCRBY', st, 'lost', owed) end
  call('DEL', P .. 'try:' .. uid)
  call('HSET', st, 'bytes', 0, 'dataLost', num(now()))
end

local function make_queue(uid, floor)
  local q = P .. 'q:' .. uid
  call('XGROUP', 'CREATE', q, 'delivery', '0', 'MKSTREAM')
  if floor ~= '0-0' then call('XSETID', q, floor) end
end

-- the queue of a known destination is gone: make it again, at or above all that it ever held
local function repair(uid)
  count_lost(uid)
  local start = call('HGET', P .. 'st:' .. uid, 'start') or '0-0'
  local reached = call('HGET', FILLS, uid) or call('HGET', C, 'pos') or '0-0'
  make_queue(uid, later(start, reached))
end

-- an entry that is no longer in the queue: forget it everywhere
local function gone(uid, id)
  local q = P .. 'q:' .. uid
  if #call('XRANGE', q, id, id) > 0 then return false end
  redis.pcall('XACK', q, 'delivery', id)
  call('HDEL', P .. 'try:' .. uid, id)
  return true
end

local function get_try(uid, id)
  local text = call('HGET', P .. 'try:' .. uid, id)
  if not text then return { n = 0, open = false, solo = false, deaths = 0 } end
  return cjson.decode(text)
end

local function set_try(uid, id, try)
  call('HSET', P .. 'try:' .. uid, id, cjson.encode(try))
end
