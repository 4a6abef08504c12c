-- Gives up entries of a stream that have waited too long, a bounded number at a time.
--
-- KEYS  1 stream
-- ARGV  1 group  2 how long they may wait (µs)  3 most entries
-- Returns how many were given up

redis.call('XDEL', KEYS[1], '0-0')
local horizon = '(' .. int(math.max(0, (clock() - ARGV[2]) / 1000)) .. '-0'
local old = redis.call('XRANGE', KEYS[1], '-', horizon, 'COUNT', ARGV[3])
for _, entry in ipairs(old) do
  redis.call('XDEL', KEYS[1], entry[1])
  try('XACK', KEYS[1], ARGV[1], entry[1])
end
return #old
