-- Moves what may be sent now from a number's lanes to `sending`, urgent first, and settles on the way what is expired,
-- cancelled, suppressed or lost. The only script that moves `due` back, after a look at all lanes (R2).
--
-- KEYS  1 due  2 the number's gate  3 stops  4 sending  5-7 its lanes: urgent, normal, bulk
--       8 the last batch that this owner claimed of the number
-- ARGV  1 prefix  2 number  3 owner  4 sequence of this claim  5 messages/s, for a gate that gives no rate
--       6-8 room left for urgent, normal, bulk  9 number lease (µs)  10-12 message lease by lane (µs)
--       13 WABA or ''  14 fingerprint of the token  15 terms (JSON: kept, body, dead, events in ms)
-- Returns 'kept' | 'released' | 'lost', µs until the next look, closings in a row, now (µs),
--         how many were expired, cancelled, lost, parked, suppressed,
--         the number's rate (messages/s), the size of its bucket (messages), its refill (messages/s),
--         then 8 a message: key, claim, priority, recipient, fingerprint, due (µs), attempts, body
--
-- The same owner and sequence get the same batch again, also when the number is somebody else's by now: a lost reply
-- orphans nothing. An earlier sequence gets nothing: it is an echo, whose reply nobody hears.

local KEY = '^[%w._:@/+=-]+$' -- nothing else can have come from a producer
local MOST = 200            -- messages examined a call
local PATIENCE = 50000      -- µs an owner waits before it gives the number back (R4)
local PROBE = 5000000       -- µs a half open gate waits for the answer to its one message
local HELD = 30000000       -- µs until a held lane is looked at again, should nobody wake it
local ECHO = 60000          -- ms that a batch is remembered; no worker asks again for so long

redis.call('ZREM', KEYS[1], '')
local prefix, number, owner = ARGV[1], ARGV[2], ARGV[3]
local terms = cjson.decode(ARGV[15])
local now = clock()

local values = gate_fields(KEYS[2], 'owner', 'claimer', 'tokens', 'at', 'until', 'why', 'credential', 'streak', 'probe',
  'rate')
local rate = rate_of(values[10]) or tonumber(ARGV[5])
local size, refill = bucket_of(rate)
local gate = {owner = values[1], claimer = values[2] or '', tokens = refilled(values[3], values[4], rate, now),
  till = num(values[5], 0), why = values[6], credential = values[7], streak = num(values[8], 0),
  probe = num(values[9], 0)}

local settled = {expired = 0, cancelled = 0, lost = 0, parked = 0, suppressed = 0}
local reply = {}
local function hand_out(key, message, body)
  for _, value in ipairs({key, message.claim, message.priority, message.to or '', message.fingerprint or '',
    message.due, message.attempts, body}) do
    reply[#reply + 1] = value
  end
end
local function answer(word, wait)
  local head = {word, int(math.max(0, math.ceil(wait))), gate.streak, int(now), settled.expired, settled.cancelled,
    settled.lost, settled.parked, settled.suppressed, float(rate), float(size), float(refill)}
  for i, value in ipairs(reply) do head[12 + i] = value end
  return head
end

local function body_of(key)
  return try('GET', prefix .. 'body:' .. key)
end

local standing = gate.owner == owner and 'kept' or gate.owner and 'lost' or 'released'
local sequence, last = redis.call('GET', KEYS[8]), nil
if sequence then sequence, last = sequence:match('^(%d+) (.*)$') end
if sequence == ARGV[4] then
  for key, claim in last:gmatch('(%S+) (%d+)') do
    local message, body = read(prefix, key), body_of(key)
    if message and not message.broken and message.state == 'sending' and message.claim == claim and body then
      hand_out(key, message, body)
    end
  end
  return answer(standing, 0)
end
if standing ~= 'kept' then return answer('lost', 0) end
local claimer, claimed_last = gate.claimer:match('^(.*) (%d+)$')
if claimer == owner and tonumber(ARGV[4]) <= tonumber(claimed_last) then return answer(standing, 0) end

-- what the gate allows
local free, blocked_till, half_open, barred = math.floor(gate.tokens), 0, false, false
if gate.streak > 0 and not (gate.why == 'credential' and gate.credential ~= ARGV[14]) then
  blocked_till = math.max(gate.till, gate.probe)
  half_open = blocked_till <= now
  free = half_open and math.min(free, 1) or 0
  barred = gate.why == 'credential' and gate.till > now
end

-- what the stops allow, lane by lane: look, cancel, or hold with a time to look again
local stopped = redis.call('EXISTS', KEYS[3]) == 1
local actions, look_again = {'look', 'look', 'look'}, {}
if stopped then
  local rows = redis.call('HMGET', KEYS[3], 'all', 'number:' .. number, 'waba:' .. ARGV[13], 'credential:' .. ARGV[14],
    'lane:' .. number .. ':urgent', 'lane:' .. number .. ':normal', 'lane:' .. number .. ':bulk')
  for i, row in ipairs(rows) do
    local action, till = binding(row, now)
    for lane = math.max(1, i - 4), (i > 4) and i - 4 or 3 do
      if action and actions[lane] ~= 'cancel' then
        actions[lane] = action
        local again = math.min(till > 0 and till or now + HELD, now + HELD)
        look_again[lane] = math.max(look_again[lane] or 0, again)
      end
    end
  end
end

-- A stop that covers the message by its template or campaign.
local function covered(message)
  local scopes = {}
  if message.template then scopes[1] = 'template:' .. ARGV[13] .. ':' .. message.template end
  if message.campaign then scopes[#scopes + 1] = 'campaign:' .. message.campaign end
  for _, scope in ipairs(scopes) do
    local action = binding(redis.call('HGET', KEYS[3], scope), now)
    if action then return action, scope end
  end
end

-- Why the recipient gets nothing of this category.
local lists = {}
local function wants_none(message)
  local list = prefix .. 'suppressed:' .. ARGV[13] .. ':' .. (message.category or '')
  if lists[list] == nil then lists[list] = redis.call('EXISTS', list) == 1 end
  return lists[list] and message.to and try('HGET', list, message.to)
end

local function put_aside(key, message, lane)
  if tonumber(message.expires) <= now then
    settled.expired = settled.expired + 1
    expire(prefix, key, message, now, terms)
    return true
  end
  local row = wants_none(message)
  if row then
    settled.suppressed = settled.suppressed + 1
    message.cause = row:match('^%d+ (.*)$') or 'opt-out'
    settle(prefix, key, message, 'suppressed', now, terms)
    return true
  end
  local action, scope = nil, nil
  if actions[lane] == 'cancel' then
    action = 'cancel'
  elseif stopped then
    action, scope = covered(message)
  end
  if action == 'cancel' then
    settled.cancelled = settled.cancelled + 1
    message.cause = 'stop'
    settle(prefix, key, message, 'cancelled', now, terms)
  elseif action then
    settled.parked = settled.parked + 1
    redis.call('SADD', prefix .. 'parked', scope)
    redis.call('ZADD', prefix .. 'parked:' .. scope, message.due, key)
    redis.call('HSET', prefix .. 'msg:' .. key, 'parked', scope:match('^template:[^:]*') or 'campaign')
  end
  return action ~= nil
end

local claimed, leases, batch = 0, {}, {}
local function claim(key, lane)
  local message = read(prefix, key)
  if message and not message.broken and message.state ~= 'queued' then return end -- a stray: it is elsewhere
  local body = message and not message.broken and key:match(KEY) and body_of(key)
  if not body then
    settled.lost = settled.lost + 1
    message = message or {broken = true}
    message.number, message.priority = number, tostring(lane - 1)
    return lose(prefix, key, message, now, terms)
  end
  if put_aside(key, message, lane) then return end
  message.claim = int((message.claim or 0) + 1)
  redis.call('HSET', prefix .. 'msg:' .. key, 'state', 'sending', 'claim', message.claim, 'claimed', int(now))
  leases[#leases + 1] = int(now + ARGV[9 + lane])
  leases[#leases + 1] = key
  batch[#batch + 1] = key .. ' ' .. message.claim
  hand_out(key, message, body)
  claimed = claimed + 1
end

local budget = MOST
for lane = 1, 3 do
  while actions[lane] ~= 'hold' and budget > 0 do
    local want = math.min(free - claimed, ARGV[5 + lane] - claimed, budget)
    if actions[lane] == 'cancel' then want = budget end
    if want < 1 then break end
    local keys = redis.call('ZRANGEBYSCORE', KEYS[4 + lane], '-inf', int(now), 'LIMIT', 0, int(want))
    if #keys == 0 then break end
    redis.call('ZREM', KEYS[4 + lane], unpack(keys))
    budget = budget - #keys
    for _, key in ipairs(keys) do claim(key, lane) end
    if #keys < want then break end
  end
end

if claimed > 0 then
  redis.call('ZADD', KEYS[4], unpack(leases))
  redis.call('SET', KEYS[8], ARGV[4] .. ' ' .. table.concat(batch, ' '), 'PX', ECHO)
  gate.tokens = gate.tokens - claimed
  if half_open then
    gate.probe = now + PROBE
    blocked_till = gate.probe
  end
end
redis.call('HSET', KEYS[2], 'tokens', string.format('%.6f', gate.tokens), 'at', int(now), 'claimer', owner .. ' ' .. ARGV[4],
  'probe', int(gate.probe), 'token', ARGV[14])
if not rate_of(values[10]) then redis.call('HSET', KEYS[2], 'rate', ARGV[5]) end -- lost, or never given

-- when the number needs serving next
local next_look = math.huge
for lane = 1, 3 do
  local head = redis.call('ZRANGE', KEYS[4 + lane], 0, 0, 'WITHSCORES')
  if head[1] then
    local at = math.max(now, tonumber(head[2]))
    if actions[lane] == 'hold' then
      at = math.max(at, look_again[lane])
    elseif actions[lane] ~= 'cancel' then
      if ARGV[5 + lane] - claimed < 1 then at = math.max(at, now + PATIENCE) end
      if gate.tokens < 1 then at = math.max(at, now + (1 - gate.tokens) * 1000000 / refill) end
      at = math.max(at, blocked_till)
    end
    next_look = math.min(next_look, at)
  end
end

if next_look - now <= PATIENCE and not barred then
  redis.call('ZADD', KEYS[1], int(now + ARGV[9]), number)
  return answer('kept', next_look - now)
end
redis.call('HDEL', KEYS[2], 'owner')
if next_look < math.huge then
  -- blocked for our token alone: a process with another one may take it now, and we do not, see take
  redis.call('ZADD', KEYS[1], int(barred and now or next_look), number)
else
  redis.call('ZREM', KEYS[1], number)
end
return answer('released', 0)
