-- A process says which numbers it has a token for.
--
-- KEYS  1 its numbers  2 processes
-- ARGV  1 process  2 how long this holds (ms), then 2 a number: its id, fingerprint of its token

redis.call('DEL', KEYS[1])
for at = 3, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, at, math.min(at + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], int(clock()), ARGV[1])
return (#ARGV - 2) / 2
