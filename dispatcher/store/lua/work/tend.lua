-- Bounded upkeep: leases of messages that ended, and times that ran out. Run by every process, once a second.
--
-- USES message
-- KEYS sending uncertain expiry processes serves
-- ARGS process alive_ms most (how long what it serves holds; messages a step)
-- REPLY more unknown uncertain lapsed expired held lost
--       1 if more is due now; 1 if the process must say again what it serves; then how many messages

redis.call('ZREM', KEY.sending, '')
local most = tonumber(ARG.most)
local done = {uncertain = 0, lapsed = 0, expired = 0, held = 0, lost = 0}
local function one(what) done[what] = done[what] + 1 end

local function due(set)
  return redis.call('ZRANGEBYSCORE', set, '-inf', int(now), 'LIMIT', 0, most)
end

local function lapse(key, message)
  message.lapses = int(num(message.lapses, 0) + 1)
  message.attempts, message.error = int(message.attempts + 1), 'lease ended'
  if tonumber(message.lapses) >= LAPSES then
    message.cause = 'lapsed'
    settle(key, message, 'dead')
    return one('lapsed')
  end
  redis.call('ZREM', KEY.sending, key)
  redis.call('ZADD', KEY.uncertain, int(now + WINDOW[message.priority + 1]), key)
  redis.call('HSET', CELL .. 'msg:' .. key, 'state', 'uncertain', 'lapses', message.lapses,
    'attempts', message.attempts, 'error', message.error, 'since', int(now))
  count('uncertain', 'lease')
  tell('uncertain', key, message)
  one('uncertain')
end

local ended = due(KEY.sending)
for _, key in ipairs(ended) do
  local message = read(key)
  if not message or message.broken then
    lose(key, message)
    one('lost')
  elseif message.state == 'sending' then
    lapse(key, message)
  else
    redis.call('ZREM', KEY.sending, key) -- a stray: its record says otherwise
  end
end

local past = due(KEY.expiry)
for _, key in ipairs(past) do
  local message = read(key)
  local lease = redis.call('ZSCORE', KEY.sending, key)
  if not message or message.broken then
    lose(key, message)
    one('lost')
  elseif not message.live then
    redis.call('ZREM', KEY.expiry, key)
  elseif message.state == 'queued' then
    one(expire(key, message) == 'dead' and 'held' or 'expired')
  elseif message.state == 'uncertain' then
    -- it may have arrived: never plainly expired
    message.cause = 'held'
    settle(key, message, 'dead')
    one('held')
  elseif lease then
    redis.call('ZADD', KEY.expiry, lease, key) -- on its way: looked at again when its lease has ended
  else
    lapse(key, message) -- on its way in nobody's hands
  end
end

keep_schema()
redis.call('ZADD', KEY.processes, int(now), ARG.process)
redis.call('ZREMRANGEBYSCORE', KEY.processes, '-inf', int(now - 60000000))
done.unknown = 1 - redis.call('PEXPIRE', KEY.serves, ARG.alive_ms)
done.more = (#ended == most or #past == most) and 1 or 0
return reply(done)
