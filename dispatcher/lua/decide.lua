-- Decides about uncertain messages whose window has passed: posted again, looked at later, or held for a person. Bounded;
-- run by every process, once a second.
--
-- KEYS  1 uncertain  2 the webhook door  3 webhooks not worked off  4 templates held back  5 the door's processes
-- ARGV  1 prefix  2 terms (JSON, as for settle)  3 most messages a call  4 how long a door may be silent (µs)
-- Returns 1 if more is due now, then how many went back on evidence, went back without, were held, were cancelled, and
--         how many wait for another look
--
-- That no receipt came is evidence only if one would have come. Looked at after 1, 2, 4 and 8 windows.

local WEBHOOKS = 'webhooks not worked off'
local SOON = 1000000              -- µs until a second look, where webhooks alone were in the way of the first
local LOOKS = 8                   -- windows after which nobody waits any longer
local RESENDS = 2                 -- how often a message may go again without evidence
local HELD_MATTERS = 86400000000  -- µs that a template counts as held back after Meta said so

redis.call('ZREM', KEYS[1], '')
local prefix, terms, now = ARGV[1], cjson.decode(ARGV[2]), clock()
local most = tonumber(ARGV[3])
local absent, unproven, held, cancelled, later = 0, 0, 0, 0, 0

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, most)
if #due == 0 then return {0, 0, 0, 0, 0, 0} end

-- Of the door's processes the one counts that was not heard of for longest: what it took since then may be lost with it.
local gap = num(try('HGET', KEYS[2], 'gap'))
local heard = num((try('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES') or {})[2])
local heard_last = num((try('ZRANGE', KEYS[5], -1, -1, 'WITHSCORES') or {})[2])

-- The oldest webhook that is not worked off, and the last id that any webhook ever got.
local first, last
local stream = try('XINFO', 'STREAM', KEYS[3]) or {}
for i = 1, #stream, 2 do
  if stream[i] == 'first-entry' then first = stream[i + 1] and stream[i + 1][1] end
  if stream[i] == 'last-generated-id' then last = stream[i + 1] end
end

local function parts(id)
  local ms, count = id:match('^(%d+)-(%d+)$')
  return num(ms, 0), num(count, 0)
end

local function is_after(id, other)
  local ms, count = parts(id)
  local other_ms, other_count = parts(other)
  return ms > other_ms or ms == other_ms and count > other_count
end

-- What `last` was at an earlier look at this uncertainty; nil at the first.
local function mark_of(message)
  local since, mark = (message.mark or ''):match('^(%S*) (%S+)$')
  return since == (message.since or '') and mark or nil
end

-- Ids are compared with ids alone: after a clock stepped back, what was stored before now may bear a later time.
local function is_worked_off(message)
  local mark = mark_of(message)
  return last and (not first or mark and is_after(first, mark))
end

-- Which condition does not hold, in words for people; nil if no receipt means not accepted.
local function doubt(message, since, window)
  if not gap then return 'no webhook door' end
  if not heard then return 'webhook door is shut' end
  if heard_last > now or last and parts(last) * 1000 > now then return 'the clock stepped back' end
  if heard < now - ARGV[4] then return 'a webhook door is silent' end
  if gap >= num(message.claimed, 0) then return 'webhook door had a gap' end
  if not is_worked_off(message) then return WEBHOOKS end
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
  redis.call('HDEL', prefix .. 'msg:' .. key, 'cause', 'since', 'mark')
  message.cause = why
  tell(prefix, 'resend', key, message, now, terms)
  wake(prefix, message.number, now, now)
end

-- There may always be webhooks, as they come all the time. Those of now are worked off soon, and what comes later does
-- not matter: the window has passed.
local function look_soon(key, message)
  redis.call('HSET', prefix .. 'msg:' .. key, 'cause', WEBHOOKS, 'mark', (message.since or '') .. ' ' .. last)
  redis.call('ZADD', KEYS[1], int(now + SOON), key)
  later = later + 1
end

local function decide(key, message, at)
  local window = terms.window[message.priority + 1] * 1000
  local since = num(message.since, at - window)
  local reason = doubt(message, since, window)
  if reason == WEBHOOKS and last and not mark_of(message) then return look_soon(key, message) end
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
