-- Writes down a stop, also in a full server.
--
-- KEYS  1 stops
-- ARGV  1 scope  2 row (JSON: action, reason, by, until in µs or 0; `since` is added here)

redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]:sub(1, -2) .. ',"since":' .. int(clock()) .. '}')
return 1
