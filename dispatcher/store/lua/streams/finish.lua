-- Takes entries that are done with out of a stream: never one without the other, so that the first entry of the stream is
-- always the oldest that is not done with.
--
-- KEYS stream
-- ARGS group
-- ENTRY id
-- Returns how many were there

local there = 0
for _, each in entries() do
  there = there + redis.call('XDEL', KEY.stream, each.id)
  try('XACK', KEY.stream, ARG.group, each.id)
end
return there
