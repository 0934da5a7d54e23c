-- trim(token, bound, gen): forgets accepted events at or below the bound, never past the cursor or a destination that is still being filled.
-- Answers the bound that held and how many were removed; at most about 10,000 in one call.
local token, bound, gen = ARGV[1], ARGV[2], ARGV[3]
if call('GET', P .. 'own:router') ~= token then return { 'FENCED' } end
local pos = call('HGET', C, 'pos') or '0-0'
if less(pos, bound) then bound = pos end
for _, fill in ipairs(call('HVALS', FILLS)) do
  if less(fill, bound) then bound = fill end
end
local removed = call('XTRIM', IN, 'MINID', '~', next_id(bound), 'LIMIT', 10000)
if less(call('HGET', C, 'trimmed') or '0-0', bound) then call('HSET', C, 'trimmed', bound) end
if call('ZCARD', CHANGES) > call('HLEN', ROUTES) then
  for _, uid in ipairs(call('ZRANGEBYSCORE', CHANGES, '-inf', gen)) do
    if call('HEXISTS', ROUTES, uid) == 0 then call('ZREM', CHANGES, uid) end
  end
end
return { 'OK', bound, removed }
