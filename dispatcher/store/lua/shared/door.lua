-- USES base
-- What is known of the webhook door.

-- It may have missed something, last at `at`. What is known of gaps never moves back, whatever the clock does.
local function mark_gap(at)
  local known = num(try('HGET', CELL .. 'door', 'gap'), 0)
  redis.call('HSET', CELL .. 'door', 'gap', int(math.max(at, known)))
end
