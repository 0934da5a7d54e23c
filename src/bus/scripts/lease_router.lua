-- lease_router(new, ttl ms): the same for routing. BUSY: another router has it.
local key = P .. 'own:router'
local own = call('GET', key)
if own and not same_process(own, ARGV[1]) then return { 'BUSY' } end
call('SET', key, ARGV[1], 'PX', ARGV[2])
make_bus()
return { 'OK' }
