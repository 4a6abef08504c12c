-- Writes down a stop, also in a full server.
--
-- KEYS stops
-- ARGS scope row (JSON: action, reason, by, until in µs or 0; `since` is added here)

redis.call('HDEL', KEY.stops, '')
redis.call('HSET', KEY.stops, ARG.scope, ARG.row:sub(1, -2) .. ',"since":' .. int(now) .. '}')
return 1
