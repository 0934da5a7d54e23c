-- redrive(uid, bytes, id…): puts dead letters back, in the order of these IDs, until about so many bytes: onto the log, meant for this
-- destination alone. Never into its queue: accepted events that are not routed yet would then count as already there.
-- NOBUS: say hello again. GONE: no such destination. CLOSED: it is being deleted. UNREADABLE: a newer version wrote its route, no event
-- would come through. FULL: its backlog is at the limit of its spec, what is put back might be dropped. WAIT: what was put back before is
-- not in its queue yet, so nobody knows whether there is room.
-- OK tried moved: so many of the IDs are done with, and so many of those were still there.
local uid, limit = ARGV[1], tonumber(ARGV[2])
if call('EXISTS', C) == 0 then return { 'NOBUS' } end
local text = call('HGET', ROUTES, uid)
if not text then return { 'GONE' } end
local read, route = pcall(cjson.decode, text)
if not read or type(route) ~= 'table' then return { 'UNREADABLE' } end
if route.state ~= 'open' then return { 'CLOSED' } end

local st, dead, q = P .. 'st:' .. uid, P .. 'dead:' .. uid, P .. 'q:' .. uid
local pos = call('HGET', C, 'pos')
local bounded = type(route.limit) == 'table'
local function most(name)
  local number = bounded and route.limit[name]
  return type(number) == 'number' and number or math.huge
end
local events, bytes = most('maxEvents') - length(q), most('maxBytes') - counter(st, 'bytes')
local last = call('HGET', st, 'redriving')
if bounded and last and less(call('HGET', FILLS, uid) or pos, last) then return { 'WAIT' } end

-- what a burial added, and what is added anew
local ours = { to = true, orig = true, n = true, class = true, code = true, msg = true, first = true, at = true }
local function returned(flat)
  return without(flat, ours, { 'to', uid, 'orig', fields(flat).orig or '' })
end

local tried, moved, size = 0, 0, 0
for i = 3, #ARGV do
  local entry = call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  if entry then
    local flat = returned(entry[2])
    size = size + size_of(flat)
    if moved + 1 > events or size > bytes then
      if moved == 0 then return { 'FULL' } end
      break
    end
    last = accept(pos, unpack(flat))
    call('XDEL', dead, ARGV[i])
    moved = moved + 1
  end
  tried = tried + 1
  if size >= limit then break end
end
if moved > 0 then
  call('HINCRBY', st, 'redriven', moved)
  if bounded then call('HSET', st, 'redriving', last) end
  tell(uid)
end
return { 'OK', tried, moved }
