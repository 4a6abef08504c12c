-- Cancels a message that waits; what is under way is marked, so that it does not come back to its lane.
--
-- USES message
-- KEYS sending
-- ARGS key
-- Returns 'cancelled' | 'marked' (under way or uncertain: too late, but not sent again) | 'settled' | 'unknown',
--         and the state it was in

redis.call('ZREM', KEY.sending, '')
local key = ARG.key
local message = read(key)
if not message or message.broken then return {'unknown', ''} end
if not message.live then return {'settled', message.state} end
if message.state ~= 'queued' then
  redis.call('HSET', CELL .. 'msg:' .. key, 'cancel', '1')
  return {'marked', message.state}
end
settle(key, message, 'cancelled')
return {'cancelled', 'queued'}
