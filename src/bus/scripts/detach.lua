-- detach(token, uid, gen): sheds the largest backlogs when memory runs short: from the cursor on, the events of this destination wait in the
-- log, as long as the bus keeps them. STALE: the routes have changed, or it is detached already.
local token, uid, gen = ARGV[1], ARGV[2], ARGV[3]
if call('GET', P .. 'own:router') ~= token then return { 'FENCED' } end
local c = call('HMGET', C, 'pos', 'gen')
if c[2] ~= gen or call('HEXISTS', ROUTES, uid) == 0 or call('HEXISTS', FILLS, uid) == 1 then
  return { 'STALE', c[1] or '0-0', c[2] or '0' }
end
-- an event of which one part is already routed may be in the queue, above the cursor; filling finds it already there
call('HSET', FILLS, uid, c[1])
tell(uid)
return { 'OK', c[1], num(changed(uid)) }
