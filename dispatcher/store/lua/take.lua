-- Makes a process the owner of numbers whose time has come, for the length of a lease.
--
-- KEYS  1 due  2 the numbers that the process can serve, with the fingerprints of its tokens
-- ARGV  1 prefix  2 owner  3 lease (µs)  4 most numbers to examine  5 how many due ones to pass by
-- Returns how many were examined, then the numbers taken
--
-- A number that is blocked because of the very token that this process would use is left to others: a process that has
-- the new token already is not bound by the block.

redis.call('ZREM', KEYS[1], '') -- a first write that frees: the script runs in a full server
local now = clock()

local function may_serve(number, gate)
  local credential = redis.call('HGET', KEYS[2], number)
  if not credential then return false end
  local values = gate_fields(gate, 'why', 'credential', 'until', 'streak')
  local barred = values[1] == 'credential' and values[2] == credential and num(values[4], 0) > 0
  return not barred or num(values[3], 0) <= now
end

local ready = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', ARGV[5], ARGV[4])
local taken = {#ready}
for _, number in ipairs(ready) do
  local gate = ARGV[1] .. 'gate:' .. number
  if may_serve(number, gate) then
    redis.call('HSET', gate, 'owner', ARGV[2])
    redis.call('ZADD', KEYS[1], int(now + ARGV[3]), number)
    taken[#taken + 1] = number
  end
end
return taken
