-- Writes numbers into the registry, also in a full server: a worker that starts there must be found.
--
-- KEYS  1 numbers
-- ARGV  two a number: its id, its row (JSON)

redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], unpack(ARGV))
return #ARGV / 2
