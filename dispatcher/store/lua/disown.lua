-- Keeps the list of URLs that webhooks are passed on to, and drops what waits for one that no process has known for long.
--
-- KEYS  1 the list
-- ARGV  1 prefix  2 how long (µs), then the names of URLs that this process knows
-- Returns how many were dropped

redis.call('HDEL', KEYS[1], '')
local now, count = clock(), 0
for at = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[at], int(now)) end
local known = redis.call('HGETALL', KEYS[1])
for at = 1, #known, 2 do
  if now - num(known[at + 1], 0) > tonumber(ARGV[2]) then
    redis.call('UNLINK', ARGV[1] .. 'forward:' .. known[at])
    redis.call('HDEL', KEYS[1], known[at])
    count = count + 1
  end
end
return count
