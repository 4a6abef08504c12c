-- Moves what may be sent now from a number's lanes to `sending`, urgent first, and settles on the way what is expired,
-- cancelled, suppressed or lost. The only script that moves `due` back, after a look at all lanes (R2).
--
-- USES message
-- KEYS due gate stops sending urgent normal bulk batch (the last batch that this owner claimed of the number)
-- ARGS number owner sequence rate room_urgent room_normal room_bulk waba credential
--       rate messages/s, for a gate that gives none; room left by lane; WABA or ''; fingerprint of the token
-- REPLY state wait_us streak now_us expired cancelled lost parked suppressed rate bucket refill messages
--       state 'kept' | 'released' | 'lost'; until the next look; closings in a row; how many were settled or parked;
--       what the gate allows all processes together: messages/s, tokens, tokens/s
-- ROW   key claim priority recipient fingerprint due_us attempts body
--
-- The same owner and sequence get the same batch again, also when the number is somebody else's by now: a lost reply
-- orphans nothing. An earlier sequence gets nothing: it is an echo, whose reply nobody hears.

local KEY_FORM = '^[%w._:@/+=-]+$' -- nothing else can have come from a producer
local MOST = 200            -- messages examined a call
local PATIENCE = 50000      -- µs an owner waits before it gives the number back (R4)
local PROBE = 5000000       -- µs a half open gate waits for the answer to its one message
local HELD = 30000000       -- µs until a held lane is looked at again, should nobody wake it
local ECHO = 60000          -- ms that a batch is remembered; no worker asks again for so long

redis.call('ZREM', KEY.due, '')
local number, owner = ARG.number, ARG.owner
local lanes = {KEY.urgent, KEY.normal, KEY.bulk}
local room = {tonumber(ARG.room_urgent), tonumber(ARG.room_normal), tonumber(ARG.room_bulk)}

local values = gate_fields(number, 'owner', 'claimer', 'tokens', 'at', 'until', 'why', 'credential', 'streak', 'probe',
  'rate')
local rate = rate_of(values[10]) or tonumber(ARG.rate)
local size, refill = bucket_of(rate)
local gate = {owner = values[1], claimer = values[2] or '', tokens = refilled(values[3], values[4], rate),
  till = num(values[5], 0), why = values[6], credential = values[7], streak = num(values[8], 0),
  probe = num(values[9], 0)}

local found = {streak = gate.streak, now_us = int(now), expired = 0, cancelled = 0, lost = 0, parked = 0, suppressed = 0,
  rate = float(rate), bucket = float(size), refill = float(refill), messages = {}}
local function one(what) found[what] = found[what] + 1 end

local function hand_out(key, message, body)
  found.messages[#found.messages + 1] = row({key = key, claim = message.claim, priority = message.priority,
    recipient = message.to or '', fingerprint = message.fingerprint or '', due_us = message.due,
    attempts = message.attempts, body = body})
end

local function answer(state, wait)
  found.state, found.wait_us = state, int(math.max(0, math.ceil(wait)))
  return reply(found)
end

local function body_of(key)
  return try('GET', CELL .. 'body:' .. key)
end

local standing = gate.owner == owner and 'kept' or gate.owner and 'lost' or 'released'
local sequence, last = redis.call('GET', KEY.batch), nil
if sequence then sequence, last = sequence:match('^(%d+) (.*)$') end
if sequence == ARG.sequence then
  for key, claim in last:gmatch('(%S+) (%d+)') do
    local message, body = read(key), body_of(key)
    if message and not message.broken and message.state == 'sending' and message.claim == claim and body then
      hand_out(key, message, body)
    end
  end
  return answer(standing, 0)
end
if standing ~= 'kept' then return answer('lost', 0) end
local claimer, claimed_last = gate.claimer:match('^(.*) (%d+)$')
if claimer == owner and tonumber(ARG.sequence) <= tonumber(claimed_last) then return answer(standing, 0) end

-- what the gate allows
local free, blocked_till, half_open, barred = math.floor(gate.tokens), 0, false, false
if gate.streak > 0 and not (gate.why == 'credential' and gate.credential ~= ARG.credential) then
  blocked_till = math.max(gate.till, gate.probe)
  half_open = blocked_till <= now
  free = half_open and math.min(free, 1) or 0
  barred = gate.why == 'credential' and gate.till > now
end

-- what the stops allow, lane by lane: look, cancel, or hold with a time to look again
local stopped = redis.call('EXISTS', KEY.stops) == 1
local actions, look_again = {'look', 'look', 'look'}, {}
if stopped then
  local rows = redis.call('HMGET', KEY.stops, 'all', 'number:' .. number, 'waba:' .. ARG.waba,
    'credential:' .. ARG.credential, 'lane:' .. number .. ':urgent', 'lane:' .. number .. ':normal',
    'lane:' .. number .. ':bulk')
  for i, text in ipairs(rows) do
    local action, till = binding(text)
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
  if message.template then scopes[1] = 'template:' .. ARG.waba .. ':' .. message.template end
  if message.campaign then scopes[#scopes + 1] = 'campaign:' .. message.campaign end
  for _, scope in ipairs(scopes) do
    local action = binding(redis.call('HGET', KEY.stops, scope))
    if action then return action, scope end
  end
end

-- Why the recipient gets nothing of this category.
local lists = {}
local function wants_none(message)
  local list = CELL .. 'suppressed:' .. ARG.waba .. ':' .. (message.category or '')
  if lists[list] == nil then lists[list] = redis.call('EXISTS', list) == 1 end
  return lists[list] and message.to and try('HGET', list, message.to)
end

local function put_aside(key, message, lane)
  if tonumber(message.expires) <= now then
    one('expired')
    expire(key, message)
    return true
  end
  local unwanted = wants_none(message)
  if unwanted then
    one('suppressed')
    message.cause = unwanted:match('^%d+ (.*)$') or 'opt-out'
    settle(key, message, 'suppressed')
    return true
  end
  local action, scope = nil, nil
  if actions[lane] == 'cancel' then
    action = 'cancel'
  elseif stopped then
    action, scope = covered(message)
  end
  if action == 'cancel' then
    one('cancelled')
    message.cause = 'stop'
    settle(key, message, 'cancelled')
  elseif action then
    one('parked')
    redis.call('SADD', CELL .. 'parked', scope)
    redis.call('ZADD', CELL .. 'parked:' .. scope, message.due, key)
    redis.call('HSET', CELL .. 'msg:' .. key, 'parked', scope:match('^template:[^:]*') or 'campaign')
  end
  return action ~= nil
end

local claimed, leases, batch = 0, {}, {}
local function claim(key, lane)
  local message = read(key)
  if message and not message.broken and message.state ~= 'queued' then return end -- a stray: it is elsewhere
  local body = message and not message.broken and key:match(KEY_FORM) and body_of(key)
  if not body then
    one('lost')
    message = message or {broken = true}
    message.number, message.priority = number, tostring(lane - 1)
    return lose(key, message)
  end
  if put_aside(key, message, lane) then return end
  message.claim = int((message.claim or 0) + 1)
  redis.call('HSET', CELL .. 'msg:' .. key, 'state', 'sending', 'claim', message.claim, 'claimed', int(now))
  leases[#leases + 1] = int(now + MESSAGE_LEASE[lane])
  leases[#leases + 1] = key
  batch[#batch + 1] = key .. ' ' .. message.claim
  hand_out(key, message, body)
  claimed = claimed + 1
end

local budget = MOST
for lane = 1, 3 do
  while actions[lane] ~= 'hold' and budget > 0 do
    local want = math.min(free - claimed, room[lane] - claimed, budget)
    if actions[lane] == 'cancel' then want = budget end
    if want < 1 then break end
    local keys = redis.call('ZRANGEBYSCORE', lanes[lane], '-inf', int(now), 'LIMIT', 0, int(want))
    if #keys == 0 then break end
    redis.call('ZREM', lanes[lane], unpack(keys))
    budget = budget - #keys
    for _, key in ipairs(keys) do claim(key, lane) end
    if #keys < want then break end
  end
end

if claimed > 0 then
  redis.call('ZADD', KEY.sending, unpack(leases))
  redis.call('SET', KEY.batch, ARG.sequence .. ' ' .. table.concat(batch, ' '), 'PX', ECHO)
  gate.tokens = gate.tokens - claimed
  if half_open then
    gate.probe = now + PROBE
    blocked_till = gate.probe
  end
end
redis.call('HSET', KEY.gate, 'tokens', string.format('%.6f', gate.tokens), 'at', int(now), 'claimer',
  owner .. ' ' .. ARG.sequence, 'probe', int(gate.probe), 'token', ARG.credential)
if not rate_of(values[10]) then redis.call('HSET', KEY.gate, 'rate', ARG.rate) end -- lost, or never given

-- when the number needs serving next
local next_look = math.huge
for lane = 1, 3 do
  local head = redis.call('ZRANGE', lanes[lane], 0, 0, 'WITHSCORES')
  if head[1] then
    local at = math.max(now, tonumber(head[2]))
    if actions[lane] == 'hold' then
      at = math.max(at, look_again[lane])
    elseif actions[lane] ~= 'cancel' then
      if room[lane] - claimed < 1 then at = math.max(at, now + PATIENCE) end
      if gate.tokens < 1 then at = math.max(at, now + (1 - gate.tokens) * 1000000 / refill) end
      at = math.max(at, blocked_till)
    end
    next_look = math.min(next_look, at)
  end
end

if next_look - now <= PATIENCE and not barred then
  redis.call('ZADD', KEY.due, int(now + NUMBER_LEASE), number)
  return answer('kept', next_look - now)
end
redis.call('HDEL', KEY.gate, 'owner')
if next_look < math.huge then
  -- blocked for our token alone: a process with another one may take it now, and we do not, see take
  redis.call('ZADD', KEY.due, int(barred and now or next_look), number)
else
  redis.call('ZREM', KEY.due, number)
end
return answer('released', 0)
