-- A sign of life of the webhook door, and how much waits behind it. Absence of a receipt proves nothing across a gap: a
-- moment at which the door may have missed something, or was not seen for too long.
--
-- KEYS door doors webhooks, then the streams of webhooks to pass on
-- ARGS silent_us gap process beats
--       how long a process of the door may go unseen; 1 if it has missed something since it last said so; 1 if it beats
--       again
-- Returns now (µs), 1 if a gap was marked, then {entries, id of the first or ''} a stream

redis.call('HDEL', KEY.door, '')
keep_schema()
local seen, marked = num(redis.call('HGET', KEY.door, 'seen'), 0), 0
-- one that fell silent may have taken what it did with it, though another is there; one from before the clock stepped back
-- says so again if it lives
local gone = redis.call('ZREMRANGEBYSCORE', KEY.doors, '-inf', int(now - ARG.silent_us))
  + redis.call('ZREMRANGEBYSCORE', KEY.doors, '(' .. int(now), '+inf')
if ARG.beats == '1' then
  redis.call('ZADD', KEY.doors, int(now), ARG.process)
else
  redis.call('ZREM', KEY.doors, ARG.process)
end
-- Where the clock stepped back, what was claimed before and after cannot be compared: a gap until it has caught up.
if ARG.gap == '1' or gone > 0 or now - seen > tonumber(ARG.silent_us) or seen > now then
  mark_gap(math.max(now, seen))
  marked = 1
end
redis.call('HSET', KEY.door, 'seen', int(now))

local found = {int(now), marked}
for at = 3, #KEYS do
  local first = try('XRANGE', KEYS[at], '-', '+', 'COUNT', 1)
  found[#found + 1] = {try('XLEN', KEYS[at]) or 0, first and first[1] and first[1][1] or ''}
end
return found
