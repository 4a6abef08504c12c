-- Takes entries that are done with out of a stream: never one without the other, so that the first entry of the stream is
-- always the oldest that is not done with.
--
-- KEYS  1 stream
-- ARGV  1 group, then the ids
-- Returns how many were there

local count = 0
for at = 2, #ARGV do
  count = count + redis.call('XDEL', KEYS[1], ARGV[at])
  try('XACK', KEYS[1], ARGV[1], ARGV[at])
end
return count
