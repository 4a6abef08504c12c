-- Gives up entries of a stream that have waited too long, a bounded number at a time.
--
-- KEYS stream
-- ARGS group kept_us most (how long they may wait; entries a call)
-- Returns how many were given up

redis.call('XDEL', KEY.stream, '0-0')
local horizon = '(' .. int(math.max(0, (now - ARG.kept_us) / 1000)) .. '-0'
local old = redis.call('XRANGE', KEY.stream, '-', horizon, 'COUNT', ARG.most)
for _, each in ipairs(old) do
  finish(KEY.stream, ARG.group, each[1])
end
return #old
