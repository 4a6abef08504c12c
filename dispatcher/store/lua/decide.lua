-- Decides about uncertain messages whose window has passed: posted again, looked at later, or held for a person. Bounded;
-- run by every process, once a second.
--
-- KEYS  1 uncertain  2 the webhook door  3 webhooks not worked off  4 templates held back
-- ARGV  1 prefix  2 terms (JSON, as for settle)  3 most messages a call  4 after how long a silent door is shut (µs)
-- Returns 1 if more is due now, then how many went back on evidence, went back without, were held, were cancelled, and
--         how many wait for another look
--
-- That no receipt came is evidence only if one would have come. Looked at after 1, 2, 4 and 8 windows.

local LOOKS = 8                   -- windows after which nobody waits any longer
local RESENDS = 2                 -- how often a message may go again without evidence
local HELD_MATTERS = 86400000000  -- µs that a template counts as held back after Meta said so

redis.call('ZREM', KEYS[1], '')
local prefix, terms, now = ARGV[1], cjson.decode(ARGV[2]), clock()
local most = tonumber(ARGV[3])
local absent, unproven, held, cancelled, later = 0, 0, 0, 0, 0

local door = try('HMGET', KEYS[2], 'gap', 'seen') or {}
local gap, seen = num(door[1]), num(door[2], 0)
local webhooks = try('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)
local oldest = webhooks and webhooks[1]
local stored = oldest and num(oldest[1]:match('^%d+'), 0) * 1000

-- Which condition does not hold, in words for people; nil if no receipt means not accepted.
local function doubt(message, at, since, window)
  if not gap then return 'no webhook door' end
  if seen < now - ARGV[4] then return 'webhook door is shut' end
  if gap >= num(message.claimed, 0) then return 'webhook door had a gap' end
  if not webhooks or stored and stored <= at then return 'webhooks not worked off' end
  local template = message.template or ''
  local held_at = try('HGET', KEYS[4], template)
  if template ~= '' and (held_at == nil or num(held_at, 0) > now - HELD_MATTERS) then
    return 'template held back by Meta'
  end
  local witness = num(try('HGET', prefix .. 'witness:' .. message.number, template), 0)
  if witness < since + window / 2 then return 'no receipt of a later message' end
end

local function die(key, message, cause, error)
  message.cause, message.error = cause, error
  settle(prefix, key, message, 'dead', now, terms)
end

-- To the front of its lane; `why` is the proof, or that there is none.
local function again(key, message, why)
  leave(prefix, key, message)
  local head = redis.call('ZRANGE', lane_of(prefix, message), 0, 0, 'WITHSCORES')
  queue(prefix, key, message, math.min(num(message.due), head[2] and head[2] - 1 or now))
  redis.call('HDEL', prefix .. 'msg:' .. key, 'cause', 'since')
  message.cause = why
  tell(prefix, 'resend', key, message, now, terms)
  wake(prefix, message.number, now, now)
end

local function decide(key, message, at)
  local window = terms.window[message.priority + 1] * 1000
  local since = num(message.since, at - window)
  local reason = doubt(message, at, since, window)
  local tries, resends = terms.tries[message.priority + 1], num(message.unproven, 0)
  if not reason and message.cancel then
    settle(prefix, key, message, 'cancelled', now, terms)
    cancelled = cancelled + 1
  elseif not reason and tries > 0 and num(message.attempts, 0) >= tries then
    die(key, message, 'exhausted', message.error)
    held = held + 1
  elseif not reason then
    again(key, message, 'absence')
    absent = absent + 1
  elseif message.on_uncertain == 'resend' and not message.cancel and resends < RESENDS then
    message.unproven = int(resends + 1)
    redis.call('HSET', prefix .. 'msg:' .. key, 'unproven', message.unproven)
    again(key, message, 'unproven')
    unproven = unproven + 1
  elseif at - since >= LOOKS * window then
    die(key, message, 'held', reason)
    held = held + 1
  else
    redis.call('ZADD', KEYS[1], int(since + 2 * math.max(at - since, window)), key)
    redis.call('HSET', prefix .. 'msg:' .. key, 'cause', reason)
    later = later + 1
  end
end

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
  local key, message = due[i], read(prefix, due[i])
  if not message or message.broken then
    lose(prefix, key, message, now, terms)
  elseif message.state ~= 'uncertain' then
    redis.call('ZREM', KEYS[1], key) -- a stray: its record says otherwise
  elseif num(message.expires) <= now then
    die(key, message, 'held', message.cause or 'its time ran out')
    held = held + 1
  else
    decide(key, message, num(due[i + 1], now))
  end
end
return {#due == 2 * most and 1 or 0, absent, unproven, held, cancelled, later}
