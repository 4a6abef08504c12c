-- Decides about uncertain messages whose window has passed: posted again, looked at later, or held for a person. Bounded;
-- run by every process, once a second.
--
-- USES settle gate
-- KEYS uncertain door webhooks held
-- ARGS most silent_us (messages a call; after how long a silent door is shut)
-- REPLY more absent unproven held exhausted cancelled later
--       1 if more is due now; how many went back on evidence, went back without, were held, had no try left, were
--       cancelled, and how many wait for another look
--
-- That no receipt came is evidence only if one would have come. Looked at after 1, 2, 4 and 8 windows.

local LOOKS = 8                   -- windows after which nobody waits any longer
local RESENDS = 2                 -- how often a message may go again without evidence
local HELD_MATTERS = 86400000000  -- µs that a template counts as held back after Meta said so

redis.call('ZREM', KEY.uncertain, '')
local most = tonumber(ARG.most)
local done = {absent = 0, unproven = 0, held = 0, exhausted = 0, cancelled = 0, later = 0}
local function one(what) done[what] = done[what] + 1 end

local door = try('HMGET', KEY.door, 'gap', 'seen') or {}
local gap, seen = num(door[1]), num(door[2], 0)
local webhooks = try('XRANGE', KEY.webhooks, '-', '+', 'COUNT', 1)
local oldest = webhooks and webhooks[1]
local stored = oldest and num(oldest[1]:match('^%d+'), 0) * 1000

-- Which condition does not hold, in words for people; nil if no receipt means not accepted.
local function doubt(message, at, since, window)
  if not gap then return 'no webhook door' end
  if seen < now - ARG.silent_us then return 'webhook door is shut' end
  if gap >= num(message.claimed, 0) then return 'webhook door had a gap' end
  if not webhooks or stored and stored <= at then return 'webhooks not worked off' end
  local template = message.template or ''
  local held_at = try('HGET', KEY.held, template)
  if template ~= '' and (held_at == nil or num(held_at, 0) > now - HELD_MATTERS) then
    return 'template held back by Meta'
  end
  local witness = num(try('HGET', CELL .. 'witness:' .. message.number, template), 0)
  if witness < since + window / 2 then return 'no receipt of a later message' end
end

local function die(key, message, cause, error)
  message.cause, message.error = cause, error
  settle(key, message, 'dead')
end

-- To the front of its lane; `why` is the proof, or that there is none.
local function again(key, message, why)
  leave(key, message)
  local head = redis.call('ZRANGE', lane_of(message), 0, 0, 'WITHSCORES')
  queue(key, message, math.min(num(message.due), head[2] and head[2] - 1 or now))
  redis.call('HDEL', CELL .. 'msg:' .. key, 'cause', 'since')
  message.cause = why
  count('resent', why == 'absence' and why or 'none')
  tell('resend', key, message)
  wake(message.number, now)
end

local function decide(key, message, at)
  local window = WINDOW[message.priority + 1]
  local since = num(message.since, at - window)
  local reason = doubt(message, at, since, window)
  local tries, resends = TRIES[message.priority + 1], num(message.unproven, 0)
  if not reason and message.cancel then
    settle(key, message, 'cancelled')
    one('cancelled')
  elseif not reason and tries > 0 and num(message.attempts, 0) >= tries then
    die(key, message, 'exhausted', message.error)
    one('exhausted')
  elseif not reason then
    again(key, message, 'absence')
    one('absent')
  elseif message.on_uncertain == 'resend' and not message.cancel and resends < RESENDS then
    message.unproven = int(resends + 1)
    redis.call('HSET', CELL .. 'msg:' .. key, 'unproven', message.unproven)
    again(key, message, 'unproven')
    one('unproven')
  elseif at - since >= LOOKS * window then
    die(key, message, 'held', reason)
    one('held')
  else
    redis.call('ZADD', KEY.uncertain, int(since + 2 * math.max(at - since, window)), key)
    redis.call('HSET', CELL .. 'msg:' .. key, 'cause', reason)
    one('later')
  end
end

local due = redis.call('ZRANGEBYSCORE', KEY.uncertain, '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
  local key, message = due[i], read(due[i])
  if not message or message.broken then
    lose(key, message)
  elseif message.state ~= 'uncertain' then
    redis.call('ZREM', KEY.uncertain, key) -- a stray: its record says otherwise
  elseif num(message.expires) <= now then
    die(key, message, 'held', message.cause or 'its time ran out')
    one('held')
  else
    decide(key, message, num(due[i + 1], now))
  end
end
done.more = #due == 2 * most and 1 or 0
return reply(done)
