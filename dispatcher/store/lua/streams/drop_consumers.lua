-- Forgets the processes of a group that hold nothing and were not heard of for long; each start leaves one behind.
--
-- KEYS stream
-- ARGS group idle_ms
-- Returns how many there were

redis.call('XDEL', KEY.stream, '0-0')
local dropped = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEY.stream, ARG.group)) do
  local consumer = {}
  for at = 1, #flat, 2 do consumer[flat[at]] = flat[at + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARG.idle_ms) then
    redis.call('XGROUP', 'DELCONSUMER', KEY.stream, ARG.group, consumer.name)
    dropped = dropped + 1
  end
end
return dropped
