-- Makes a process the owner of numbers whose time has come, for the length of a lease.
--
-- KEYS  1 due  2 the set of numbers that the process can serve
-- ARGV  1 prefix  2 owner  3 lease (µs)  4 most numbers to examine  5 how many due ones to pass by
-- Returns how many were examined, then the numbers taken

redis.call('ZREM', KEYS[1], '') -- a first write that frees: the script runs in a full server
local now = clock()
local ready = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', ARGV[5], ARGV[4])
local taken = {#ready}
for _, number in ipairs(ready) do
  if redis.call('SISMEMBER', KEYS[2], number) == 1 then
    gate_fields(ARGV[1] .. 'gate:' .. number, 'owner')
    redis.call('HSET', ARGV[1] .. 'gate:' .. number, 'owner', ARGV[2])
    redis.call('ZADD', KEYS[1], int(now + ARGV[3]), number)
    taken[#taken + 1] = number
  end
end
return taken
