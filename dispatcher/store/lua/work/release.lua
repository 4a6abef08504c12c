-- Gives numbers back: whoever takes them next serves them at once.
--
-- KEYS due
-- ARGS owner
-- ENTRY number
-- Returns how many were this owner's

redis.call('ZREM', KEY.due, '')
local given = 0
for _, each in entries() do
  local gate = CELL .. 'gate:' .. each.number
  if try('HGET', gate, 'owner') == ARG.owner then
    redis.call('HDEL', gate, 'owner')
    redis.call('ZADD', KEY.due, int(now), each.number)
    given = given + 1
  end
end
return given
