-- Decides about uncertain messages whose window has passed: posted again, looked at later, or held for a person. Bounded;
-- run by every process, once a second.
--
-- USES message
-- KEYS uncertain door webhooks held doors
-- ARGS most silent_us (messages a call; how long a process of the door may be silent)
-- REPLY more absent unproven held exhausted cancelled later
--       1 if more is due now; how many went back on evidence, went back without, were held, had no try left, were
--       cancelled, and how many wait for another look
--
-- That no receipt came is evidence only if one would have come. Looked at after 1, 2, 4 and 8 windows.

local WEBHOOKS = 'webhooks not worked off'
local SOON = 1000000              -- µs until a second look, where webhooks alone were in the way of the first
local LOOKS = 8                   -- windows after which nobody waits any longer
local RESENDS = 2                 -- how often a message may go again without evidence
local HELD_MATTERS = 86400000000  -- µs that a template counts as held back after Meta said so

redis.call('ZREM', KEY.uncertain, '')
local most = tonumber(ARG.most)
local done = {absent = 0, unproven = 0, held = 0, exhausted = 0, cancelled = 0, later = 0}
local function one(what) done[what] = done[what] + 1 end

local due = redis.call('ZRANGEBYSCORE', KEY.uncertain, '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, most)
done.more = #due == 2 * most and 1 or 0
if #due == 0 then return reply(done) end

-- Of the door's processes the one counts that was not heard of for longest: what it took since then may be lost with it.
local gap = num(try('HGET', KEY.door, 'gap'))
local heard = num((try('ZRANGE', KEY.doors, 0, 0, 'WITHSCORES') or {})[2])
local heard_last = num((try('ZRANGE', KEY.doors, -1, -1, 'WITHSCORES') or {})[2])

-- The oldest webhook that is not worked off, and the last id that any webhook ever got.
local first, last
local stream = try('XINFO', 'STREAM', KEY.webhooks) or {}
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
  if heard < now - ARG.silent_us then return 'a webhook door is silent' end
  if gap >= num(message.claimed, 0) then return 'webhook door had a gap' end
  if not is_worked_off(message) then return WEBHOOKS end
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
  redis.call('HDEL', CELL .. 'msg:' .. key, 'cause', 'since', 'mark')
  message.cause = why
  count('resent', why == 'absence' and why or 'none')
  tell('resend', key, message)
  wake(message.number, now)
end

-- There may always be webhooks, as they come all the time. Those of now are worked off soon, and what comes later does
-- not matter: the window has passed.
local function look_soon(key, message)
  redis.call('HSET', CELL .. 'msg:' .. key, 'cause', WEBHOOKS, 'mark', (message.since or '') .. ' ' .. last)
  redis.call('ZADD', KEY.uncertain, int(now + SOON), key)
  one('later')
end

local function decide(key, message, at)
  local window = WINDOW[message.priority + 1]
  local since = num(message.since, at - window)
  local reason = doubt(message, since, window)
  if reason == WEBHOOKS and last and not mark_of(message) then return look_soon(key, message) end
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
return reply(done)
