-- A process says which numbers it has a token for, in parts that hold together once the last is said.
--
-- KEYS  1 its numbers  2 processes  3 what is said of its numbers so far
-- ARGV  1 process  2 how long this holds (ms)  3 'first' or ''  4 'last' or '', then 2 a number: its id, fingerprint of its
--       token
-- Returns how many numbers this part has

local HALF_SAID = 3600000 -- ms that parts stay whose last never comes, because their process is gone

if ARGV[3] == 'first' then redis.call('DEL', KEYS[3]) else redis.call('HDEL', KEYS[3], '') end
if #ARGV > 4 then
  redis.call('HSET', KEYS[3], unpack(ARGV, 5))
  redis.call('PEXPIRE', KEYS[3], HALF_SAID)
end
if ARGV[4] == 'last' then
  if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('RENAME', KEYS[3], KEYS[1]) else redis.call('DEL', KEYS[1]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('ZADD', KEYS[2], int(clock()), ARGV[1])
end
return (#ARGV - 4) / 2
