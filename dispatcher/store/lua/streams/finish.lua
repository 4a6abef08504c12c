-- Takes entries that are done with out of a stream.
--
-- KEYS stream
-- ARGS group
-- ENTRY id
-- Returns how many were there

local there = 0
for _, each in entries() do
  there = there + finish(KEY.stream, ARG.group, each.id)
end
return there
