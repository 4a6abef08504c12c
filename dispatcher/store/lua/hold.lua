-- Says since when a process of a group has been holding entries of a stream: just now, so that nobody takes them over, or
-- so long ago that anybody does. What was held by a living process has not failed: it counts as handed out once.
--
-- KEYS  1 stream
-- ARGV  1 group  2 process  3 since when (ms ago), then the ids

redis.call('XDEL', KEYS[1], '0-0')
local command = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ARGV, 4)}
for _, word in ipairs({'IDLE', ARGV[3], 'RETRYCOUNT', '1', 'JUSTID'}) do command[#command + 1] = word end
return #redis.call(unpack(command))
