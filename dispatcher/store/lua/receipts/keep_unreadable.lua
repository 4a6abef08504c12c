-- Keeps what could not be read where a person can look at it. A status may be lost with it, and then the door had a gap.
--
-- KEYS unreadable
-- ARGS most gap (entries that are kept; 1 if a receipt may be among them)
-- ENTRY row (JSON object)
-- Returns how many there are now

redis.call('LTRIM', KEY.unreadable, 0, ARG.most - 1)
for _, each in entries() do redis.call('LPUSH', KEY.unreadable, each.row) end
redis.call('LTRIM', KEY.unreadable, 0, ARG.most - 1)
if ARG.gap == '1' then mark_gap(now) end
return redis.call('LLEN', KEY.unreadable)
