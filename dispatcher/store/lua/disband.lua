-- Forgets campaigns that nothing has happened in for long, and the longest silent ones where there are too many; a step
-- at a time.
--
-- KEYS  1 the index of campaigns
-- ARGV  1 prefix  2 how long they are kept (µs)  3 most campaigns  4 most forgotten a call
-- Returns how many were forgotten

redis.call('ZREM', KEYS[1], '')
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(clock() - ARGV[2]), 'LIMIT', 0, ARGV[4])
if #names == 0 then
  local surplus = math.min(redis.call('ZCARD', KEYS[1]) - ARGV[3], ARGV[4])
  if surplus > 0 then names = redis.call('ZRANGE', KEYS[1], 0, surplus - 1) end
end
for _, name in ipairs(names) do redis.call('DEL', ARGV[1] .. 'campaign:' .. name) end
if #names > 0 then redis.call('ZREM', KEYS[1], unpack(names)) end
return #names
