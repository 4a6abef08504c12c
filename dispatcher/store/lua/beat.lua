-- A sign of life of the webhook door, and how much waits behind it. Absence of a receipt proves nothing across a gap: a
-- moment at which the door may have missed something, or was not seen for too long.
--
-- KEYS  1 the webhook door  2 its processes  3 webhooks, then the streams of webhooks to pass on
-- ARGV  1 how long the door may go unseen (µs)  2 1 if the door has missed something since it last said so  3 process
--       4 1 if it beats again
-- Returns now (µs), 1 if a gap was marked, then two a stream: its entries, and the id of the first ('' if there is none)

redis.call('HDEL', KEYS[1], '')
local now = clock()
local seen = num(redis.call('HGET', KEYS[1], 'seen'), 0)
local marked = 0
-- one that fell silent may have taken what it did with it, though another is there
local gone = redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now - ARGV[1]))
if ARGV[4] == '1' then
  redis.call('ZADD', KEYS[2], int(now), ARGV[3])
else
  redis.call('ZREM', KEYS[2], ARGV[3])
end
if ARGV[2] == '1' or gone > 0 or now - seen > tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'gap', int(now))
  marked = 1
end
redis.call('HSET', KEYS[1], 'seen', int(now))

local found = {int(now), marked}
for at = 3, #KEYS do
  local count = try('XLEN', KEYS[at])
  local first = try('XRANGE', KEYS[at], '-', '+', 'COUNT', 1)
  found[#found + 1] = count or 0
  found[#found + 1] = first and first[1] and first[1][1] or ''
end
return found
