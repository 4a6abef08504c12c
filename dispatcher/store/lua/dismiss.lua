-- Forgets the processes of a group that hold nothing and were not heard of for long; each start leaves one behind.
--
-- KEYS  1 stream
-- ARGV  1 group  2 how long (ms)
-- Returns how many there were

redis.call('XDEL', KEYS[1], '0-0')
local count = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local row = {}
  for at = 1, #flat, 2 do row[flat[at]] = flat[at + 1] end
  if row.pending == 0 and row.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], row.name)
    count = count + 1
  end
end
return count
