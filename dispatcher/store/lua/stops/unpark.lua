-- Moves messages that a template or campaign stop put aside back to their lanes once the stop is lifted, and cancels
-- them where it now cancels; a step at a time.
--
-- USES message
-- KEYS parked stops (the index of scopes with parked messages)
-- ARGS most (messages a call)
-- REPLY moved cancelled lost more (the last: 1 if more waits to be moved now)

redis.call('SREM', KEY.parked, '')
local left = tonumber(ARG.most)
local done = {moved = 0, cancelled = 0, lost = 0}
local function one(what) done[what] = done[what] + 1 end

local numbers = {}
local function go_on(key, message, action)
  if not message or message.broken then
    lose(key, message)
    one('lost')
  elseif message.state == 'queued' and action == 'cancel' then
    message.cause = 'stop'
    settle(key, message, 'cancelled')
    one('cancelled')
  elseif message.state == 'queued' then
    queue(key, message, tonumber(message.due))
    numbers[message.number] = true
    one('moved')
  end
end

for _, scope in ipairs(redis.call('SMEMBERS', KEY.parked)) do
  local parked = CELL .. 'parked:' .. scope
  local action = binding(redis.call('HGET', KEY.stops, scope))
  if action ~= 'hold' and left > 0 then
    local keys = redis.call('ZRANGE', parked, 0, left - 1)
    left = left - #keys
    for _, key in ipairs(keys) do
      local message = read(key)
      redis.call('ZREM', parked, key)
      go_on(key, message, action)
    end
    if redis.call('EXISTS', parked) == 0 then redis.call('SREM', KEY.parked, scope) end
  end
end
for number in pairs(numbers) do wake(number, now) end
done.more = left == 0 and 1 or 0
return reply(done)
