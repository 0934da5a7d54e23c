-- lease_router(new, ttl ms, prev…): the same for routing. BUSY: another router has it.
local key = P .. 'own:router'
local own = call('GET', key)
if own and own ~= ARGV[1] then
  local mine = false
  for i = 3, #ARGV do
    if ARGV[i] == own then mine = true end
  end
  if not mine then return { 'BUSY' } end
end
call('SET', key, ARGV[1], 'PX', ARGV[2])
make_bus()
return { 'OK' }
