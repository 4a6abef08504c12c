-- Bounded upkeep: leases of messages that ended, and times that ran out. Run by every process, once a second.
--
-- KEYS  1 sending  2 uncertain  3 expiry  4 processes  5 the set of numbers this process serves
-- ARGV  1 prefix  2 terms (JSON, as for settle)  3 process  4 how long its set holds (ms)
--       5 most messages a step  6 lease ends that make a message dead
-- Returns 1 if more is due now, 1 if the process must say again what it serves, then how many became uncertain,
--         lapsed, expired, held, lost

redis.call('ZREM', KEYS[1], '')
local prefix, terms, now, most = ARGV[1], cjson.decode(ARGV[2]), clock(), tonumber(ARGV[5])
local uncertain, lapsed, expired, held, lost = 0, 0, 0, 0, 0

local function due(set)
  return redis.call('ZRANGEBYSCORE', set, '-inf', int(now), 'LIMIT', 0, most)
end

local function lapse(key, message)
  message.lapses = int(num(message.lapses, 0) + 1)
  message.attempts, message.error = int(message.attempts + 1), 'lease ended'
  if tonumber(message.lapses) >= tonumber(ARGV[6]) then
    message.cause = 'lapsed'
    settle(prefix, key, message, 'dead', now, terms)
    lapsed = lapsed + 1
    return
  end
  redis.call('ZREM', KEYS[1], key)
  redis.call('ZADD', KEYS[2], int(now + terms.window[message.priority + 1] * 1000), key)
  redis.call('HSET', prefix .. 'msg:' .. key, 'state', 'uncertain', 'lapses', message.lapses,
    'attempts', message.attempts, 'error', message.error, 'since', int(now))
  tell(prefix, 'uncertain', key, message, now, terms)
  uncertain = uncertain + 1
end

local ended = due(KEYS[1])
for _, key in ipairs(ended) do
  local message = read(prefix, key)
  if not message or message.broken then
    lose(prefix, key, message, now, terms)
    lost = lost + 1
  elseif message.state == 'sending' then
    lapse(key, message)
  else
    redis.call('ZREM', KEYS[1], key) -- a stray: its record says otherwise
  end
end

local past = due(KEYS[3])
for _, key in ipairs(past) do
  local message = read(prefix, key)
  local lease = redis.call('ZSCORE', KEYS[1], key)
  if not message or message.broken then
    lose(prefix, key, message, now, terms)
    lost = lost + 1
  elseif not message.live then
    redis.call('ZREM', KEYS[3], key)
  elseif message.state == 'queued' then
    if expire(prefix, key, message, now, terms) == 'dead' then held = held + 1 else expired = expired + 1 end
  elseif message.state == 'uncertain' then
    -- it may have arrived: never plainly expired
    message.cause = 'held'
    settle(prefix, key, message, 'dead', now, terms)
    held = held + 1
  elseif lease then
    redis.call('ZADD', KEYS[3], lease, key) -- on its way: looked at again when its lease has ended
  else
    lapse(key, message) -- on its way in nobody's hands
  end
end

redis.call('ZADD', KEYS[4], int(now), ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', int(now - 60000000))
local known = redis.call('PEXPIRE', KEYS[5], ARGV[4])
local more = (#ended == most or #past == most) and 1 or 0
return {more, 1 - known, uncertain, lapsed, expired, held, lost}
