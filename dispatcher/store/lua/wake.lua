-- Makes numbers due now: what held them back has gone.
--
-- KEYS  1 due
-- ARGV  1 prefix, then the numbers

redis.call('ZREM', KEYS[1], '')
local now = clock()
for at = 2, #ARGV do wake(ARGV[1], ARGV[at], now, now) end
return #ARGV - 1
