-- Says since when a process of a group has been holding entries of a stream: just now, so that nobody takes them over, or
-- so long ago that anybody does. What was held by a living process has not failed: it counts as handed out once.
--
-- KEYS stream
-- ARGS group process since_ms (ago)
-- ENTRY id

redis.call('XDEL', KEY.stream, '0-0')
local command = {'XCLAIM', KEY.stream, ARG.group, ARG.process, 0, unpack(ARGV, 4)}
for _, word in ipairs({'IDLE', ARG.since_ms, 'RETRYCOUNT', '1', 'JUSTID'}) do command[#command + 1] = word end
return #redis.call(unpack(command))
