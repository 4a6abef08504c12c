-- Moves messages that a template or campaign stop put aside back to their lanes once the stop is lifted, and cancels
-- them where it now cancels; a step at a time.
--
-- KEYS  1 the index of scopes with parked messages  2 stops
-- ARGV  1 prefix  2 terms (JSON, as for claim)  3 most messages a call
-- Returns how many went back, how many were cancelled, and 1 if more waits to be moved now

redis.call('SREM', KEYS[1], '')
local prefix, terms, now = ARGV[1], cjson.decode(ARGV[2]), clock()
local left = tonumber(ARGV[3])
local moved, cancelled, numbers = 0, 0, {}

for _, scope in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local action = binding(redis.call('HGET', KEYS[2], scope), now)
  if action ~= 'hold' and left > 0 then
    local keys = redis.call('ZRANGE', prefix .. 'parked:' .. scope, 0, left - 1)
    left = left - #keys
    for _, key in ipairs(keys) do
      local message = read(prefix, key)
      redis.call('ZREM', prefix .. 'parked:' .. scope, key)
      if not message or message.broken then
        lose(prefix, key, message, now, terms)
      elseif message.state == 'queued' then
        if action == 'cancel' then
          message.cause = 'stop'
          settle(prefix, key, message, 'cancelled', now, terms)
          cancelled = cancelled + 1
        else
          queue(prefix, key, message, tonumber(message.due))
          numbers[message.number] = true
          moved = moved + 1
        end
      end
    end
    if redis.call('EXISTS', prefix .. 'parked:' .. scope) == 0 then redis.call('SREM', KEYS[1], scope) end
  end
end
for number in pairs(numbers) do wake(prefix, number, now, now) end
return {moved, cancelled, left == 0 and 1 or 0}
