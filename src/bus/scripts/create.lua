-- create(uid, namespace/name, route, latest | earliest | since MS | ID): makes route, queue and group of a destination, or what is missing of them.
-- NOBUS: say hello again. EXISTS: it is routed already. TAKEN: the name belongs to another uid that is routed.
local uid, name, route, start = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if call('EXISTS', C) == 0 then return { 'NOBUS' } end
local st, q = P .. 'st:' .. uid, P .. 'q:' .. uid
if call('HEXISTS', ROUTES, uid) == 1 then return { 'EXISTS', call('HGET', st, 'start') or '0-0' } end
local other = call('HGET', NAMES, name)
if other and other ~= uid and call('HEXISTS', ROUTES, other) == 1 then return { 'TAKEN', other } end
local since = string.match(start, '^since (%d+)$')
local recorded = start ~= 'latest' and start ~= 'earliest' and not since
if since then start = before_time(since) end
local pos = call('HGET', C, 'pos')
local trimmed = call('HGET', C, 'trimmed')
if start == 'latest' then
  start = later(last_id(IN) or '0-0', pos)
elseif start == 'earliest' then
  start = trimmed
elseif less(start, trimmed) then
  -- what lies between is no longer kept; from a recorded start on this destination was owed it
  call('HSET', st, 'gap', start)
  if recorded then call('HSET', st, 'dataLost', num(now())) end
  start = trimmed
end
local last = last_id(q)
if last then
  ensure_group(uid)
elseif call('HEXISTS', st, 'start') == 1 then
  remake_queue(uid, start)
else
  make_queue(uid, start)
  -- a recorded start: all that it had is gone, with its counters
  if recorded then call('HSET', st, 'dataLost', num(now())) end
end
call('HSET', ROUTES, uid, route)
call('HSET', NAMES, name, uid)
call('HSET', st, 'start', start)
local reached = later(start, last or start)
if less(reached, pos) then call('HSET', FILLS, uid, reached) end
changed(uid)
return { 'OK', start }
