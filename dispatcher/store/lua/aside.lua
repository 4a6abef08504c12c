-- Keeps what could not be read where a person can look at it. A status may be lost with it, and then the door had a gap.
--
-- KEYS  1 unreadable  2 the webhook door
-- ARGV  1 most that are kept  2 1 if a receipt may be among them, then one JSON object each
-- Returns how many there are now

redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
for at = 3, #ARGV do redis.call('LPUSH', KEYS[1], ARGV[at]) end
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
if ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'gap', int(clock())) end
return redis.call('LLEN', KEYS[1])
