-- bury(uid, token, id, dead | drop, destination | event | other, class, msg, streak limit, event streak limit, most dead letters, copy):
-- copy: '' or namespace/name of a destination that a dead letter is sent to as well, where there is one. A copy is never copied again.
-- gives an event up. HALT: too many in a row were given up with no success between; nothing is changed but that the destination is halted.
-- At the limit itself the event goes and the destination is halted behind it. HALTED: it was halted by this one.
local uid, token, id, how, kind = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if fenced(uid, token) then return { 'FENCED' } end
local q, st, dead = P .. 'q:' .. uid, P .. 'st:' .. uid, P .. 'dead:' .. uid
local entry = call('XRANGE', q, id, id)[1]
if not entry then
  gone(uid, id)
  return { 'GONE' }
end

local streak, limit, reason
if kind == 'destination' then
  streak, limit, reason = 'streak', tonumber(ARGV[8]), 'DestinationFailing'
elseif kind == 'event' then
  streak, limit, reason = 'evstreak', tonumber(ARGV[9]), 'EventsRefused'
end
local function halt()
  if call('HSETNX', st, 'halted', reason .. ' ' .. num(now())) == 1 then tell(uid) end
end
if streak and counter(st, streak) >= limit then
  halt()
  return { 'HALT' }
end

-- onto the log, meant for that destination alone
local function send_copy(name)
  local target, event = call('HGET', NAMES, name), fields(entry[2])
  if not target or target == uid or event.copy or call('HEXISTS', ROUTES, target) == 0 then return end
  local flat = { 'to', target, 'copy', uid }
  for _, field in ipairs({ 'v', 'm', 'a', 'c', 'd' }) do
    if event[field] then
      flat[#flat + 1] = field
      flat[#flat + 1] = event[field]
    end
  end
  accept(call('HGET', C, 'pos') or '0-0', unpack(flat))
end

local try = get_try(uid, id)
if how == 'dead' then
  local letter = { orig = id, n = num(try.n or 0), class = ARGV[6], code = try.code and num(try.code) or '', msg = ARGV[7],
    first = try.first and num(try.first) or '', at = num(now()) }
  local flat = without(entry[2], letter, {})
  for _, name in ipairs({ 'orig', 'n', 'class', 'code', 'msg', 'first', 'at' }) do
    flat[#flat + 1] = name
    flat[#flat + 1] = letter[name]
  end
  call('XADD', dead, '*', unpack(flat))
  if ARGV[11] ~= '' then send_copy(ARGV[11]) end
  if call('XLEN', dead) > tonumber(ARGV[10]) then
    call('HINCRBY', st, 'purged', call('XTRIM', dead, 'MAXLEN', '=', ARGV[10]))
  end
end
redis.pcall('XACK', q, 'delivery', id)
call('XDEL', q, id)
call('HDEL', P .. 'try:' .. uid, id)
if call('HINCRBY', st, how == 'dead' and 'buried' or 'dropped', 1) == 1 then tell(uid) end
free_bytes(uid, size_of(entry[2]))
if streak and call('HINCRBY', st, streak, 1) >= limit then
  halt()
  return { 'HALTED', reason }
end
return { 'OK' }
