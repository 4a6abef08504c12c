-- A process says which numbers it has a token for, in parts that hold together once the last is said.
--
-- KEYS serves processes next (its numbers; all processes; what is said of its numbers so far)
-- ARGS process alive_ms first last (how long this holds; 1 with the first part; 1 with the last)
-- ENTRY number fingerprint (of its token)
-- Returns how many numbers this part has

local HALF_SAID = 3600000 -- ms that parts stay whose last never comes, because their process is gone

if ARG.first == '1' then redis.call('DEL', KEY.next) else redis.call('HDEL', KEY.next, '') end
if ENTRIES > 0 then
  redis.call('HSET', KEY.next, unpack(ARGV, 5))
  redis.call('PEXPIRE', KEY.next, HALF_SAID)
end
if ARG.last == '1' then
  if redis.call('EXISTS', KEY.next) == 1 then redis.call('RENAME', KEY.next, KEY.serves) else redis.call('DEL', KEY.serves) end
  redis.call('PEXPIRE', KEY.serves, ARG.alive_ms)
  redis.call('ZADD', KEY.processes, int(now), ARG.process)
end
return ENTRIES
