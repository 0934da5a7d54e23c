-- route(token, exp, new, gen, final, unmatched, entries, queues): appends a batch to the queues that want it and moves the cursor.
--   entries: count, then (id, number of values, field, value, …) each
--   queues:  (uid, quota in bytes, count, index of entry…) each
-- FENCED: not the router. STALE pos gen: the cursor, the routes or the log are not as the caller thinks.
-- OK gen (uid, position)…: the queues that reached their quota are detached: from that position on they are filled from the log.
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
  local uid, quota, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if call('HEXISTS', ROUTES, uid) == 1 then
    local queue = open_queue(uid)
    local reached = exp
    for k = 1, count do
      local entry = entries[tonumber(ARGV[at + 2 + k])]
      if not fits(queue, entry[1], entry[3], quota) or not append_to(queue, entry[1], entry[2], entry[3]) then
        call('HSET', FILLS, uid, reached)
        answer[2] = num(changed(uid))
        tell(uid)
        answer[#answer + 1] = uid
        answer[#answer + 1] = reached
        break
      end
      reached = entry[1]
    end
    close_queue(queue)
  end
  at = at + 3 + count
end

if final == '1' then
  call('HSET', C, 'pos', new)
  if unmatched ~= '0' then call('HINCRBY', C, 'unmatched', unmatched) end
end
return answer
