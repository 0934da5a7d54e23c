-- route(token, exp, new, gen, final, unmatched, entries, queues): appends a batch to the queues that want it and moves the cursor.
--   entries: count, then (id, number of values, field, value, …) each
--   queues:  (uid, quota in bytes, limit of its spec, count, index of entry…) each
-- FENCED: not the router. STALE pos gen: the cursor, the routes or the log are not as the caller thinks.
-- OK gen (uid, position, dropped)…: what is to be told of a queue. A position: it reached its quota and is detached; from there on it is
-- filled from the log. Dropped: so many events went by the limit of its spec.
local token, exp, new, gen, final, unmatched = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if call('GET', P .. 'own:router') ~= token then return { 'FENCED' } end
local c = call('HMGET', C, 'pos', 'gen')
if c[1] ~= exp or c[2] ~= gen or #call('XRANGE', IN, new, new) == 0 then return { 'STALE', c[1] or '0-0', c[2] or '0' } end

local at = 8
local entries = {}
for i = 1, tonumber(ARGV[7]) do
  local id, width = ARGV[at], tonumber(ARGV[at + 1])
  local flat = {}
  for k = 1, width do flat[k] = ARGV[at + 1 + k] end
  entries[i] = { id, flat, size_of(flat) }
  at = at + 2 + width
end

local answer = { 'OK', gen }
while at <= #ARGV do
  local uid, quota, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
  if call('HEXISTS', ROUTES, uid) == 1 then
    local queue = open_queue(uid, ARGV[at + 2])
    local reached, detached = exp, ''
    for k = 1, count do
      local entry = entries[tonumber(ARGV[at + 3 + k])]
      if not take(queue, entry[1], entry[2], entry[3], quota) then
        call('HSET', FILLS, uid, reached)
        answer[2] = num(changed(uid))
        tell(uid)
        detached = reached
        break
      end
      reached = entry[1]
    end
    close_queue(queue)
    if detached ~= '' or queue.limited > 0 then
      for _, value in ipairs({ uid, detached, queue.limited }) do answer[#answer + 1] = value end
    end
  end
  at = at + 4 + count
end

if final == '1' then
  call('HSET', C, 'pos', new)
  if unmatched ~= '0' then call('HINCRBY', C, 'unmatched', unmatched) end
end
return answer
