-- Gives numbers back: whoever takes them next serves them at once.
--
-- KEYS  1 due
-- ARGV  1 prefix  2 owner, then the numbers
-- Returns how many were this owner's

redis.call('ZREM', KEYS[1], '')
local now = clock()
local given = 0
for at = 3, #ARGV do
  local gate = ARGV[1] .. 'gate:' .. ARGV[at]
  if try('HGET', gate, 'owner') == ARGV[2] then
    redis.call('HDEL', gate, 'owner')
    redis.call('ZADD', KEYS[1], int(now), ARGV[at])
    given = given + 1
  end
end
return given
