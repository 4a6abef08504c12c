-- Cancels a message that waits; what is under way is marked, so that it does not come back to its lane.
--
-- KEYS  1 sending
-- ARGV  1 prefix  2 key  3 terms (JSON, as for claim)
-- Returns 'cancelled' | 'marked' (under way or uncertain: too late, but not sent again) | 'settled' | 'unknown',
--         and the state it was in

redis.call('ZREM', KEYS[1], '')
local prefix, key = ARGV[1], ARGV[2]
local message = read(prefix, key)
if not message or message.broken then return {'unknown', ''} end
if not message.live then return {'settled', message.state} end
if message.state ~= 'queued' then
  redis.call('HSET', prefix .. 'msg:' .. key, 'cancel', '1')
  return {'marked', message.state}
end
settle(prefix, key, message, 'cancelled', clock(), cjson.decode(ARGV[3]))
return {'cancelled', 'queued'}
