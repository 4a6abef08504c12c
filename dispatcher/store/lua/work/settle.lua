-- What became of claimed messages, in batches; each entry stands for itself, is fenced by its claim number and may be
-- settled again. An acceptance wins in every state.
--
-- USES message
-- KEYS due sending uncertain
-- ENTRY key claim outcome number priority recipient fingerprint claimed_us value error
-- ENTRY gate gate_for_us why credential
--       outcome  accepted (value: wamid; error: 'held' where Meta keeps it back for now) | retry (value: µs from now) |
--                snooze (value: µs from now, or '' for its own place) | release | reject | uncertain |
--                in_flight (still under way: claimed again after a rollback; value: its lease in µs)
--       gate     close | doubt | open | ''
-- Returns one word an entry: what the message is now, 'duplicate', or '' where nothing changed

local DOUBTS = 5 -- uncertain answers in a row that close a gate

redis.call('ZREM', KEY.sending, '')

local gates = {}
local function gate_of(number)
  local gate = gates[number]
  if not gate then
    local values = gate_fields(number, 'until', 'streak', 'doubts', 'closed', 'probe')
    gate = {till = num(values[1], 0), streak = num(values[2], 0), doubts = num(values[3], 0),
      closed = num(values[4], 0), probe = num(values[5], 0)}
    gates[number] = gate
  end
  return gate
end

local function close(gate, entry)
  gate.till = math.max(gate.till, now + entry.gate_for_us)
  gate.streak, gate.doubts, gate.closed, gate.probe = gate.streak + 1, 0, now, 0
  gate.why, gate.credential, gate.changed = entry.why, entry.credential, true
  count('gate_closed', entry.why)
end

-- An answer to a claim from before the last closing says nothing about the gate as it is now, and a doubt that is
-- settled again is no second one.
local function turn(entry, word)
  local gate = gate_of(entry.number)
  if tonumber(entry.claimed_us) <= gate.closed then return end
  if gate.probe > 0 then gate.probe, gate.changed, gate.wake = 0, true, true end
  if entry.gate == 'close' then
    close(gate, entry)
  elseif entry.gate == 'doubt' and word ~= '' then
    gate.doubts, gate.changed = gate.doubts + 1, true
    if gate.streak > 0 or gate.doubts >= DOUBTS then close(gate, entry) end
  elseif entry.gate == 'open' and (gate.streak > 0 or gate.doubts > 0) then
    gate.wake = gate.wake or gate.streak > 0
    gate.till, gate.streak, gate.doubts, gate.why, gate.changed = 0, 0, 0, '', true
  end
end

local function accepted(entry, message)
  if entry.error == 'held' and message and message.template then
    -- no receipt will come for a while, and that proves nothing then
    try('HSET', CELL .. 'held', message.template, int(now))
  end
  if not message or message.broken then
    -- the record was lost with a part of Redis: what is known is written down, so that the key stays used
    local claimed = int(entry.claimed_us)
    message = {broken = true, number = entry.number, priority = entry.priority, to = entry.recipient,
      fingerprint = entry.fingerprint, enqueued = claimed, due = claimed, state = 'sending', claim = entry.claim}
  elseif num(message.failed, 0) >= num(entry.claim, 0) and message.failed then
    return '' -- it failed since, and is on its way again
  elseif message.wamid then
    return accept_again(entry.key, message, entry.value) and 'duplicate' or ''
  end
  message.claimed = message.claimed or int(entry.claimed_us)
  accept(entry.key, message, entry.value, entry.claim)
  return 'accepted'
end

local function dead(entry, message, cause)
  message.cause, message.error = cause, entry.error
  settle(entry.key, message, 'dead')
  return 'dead'
end

local function back(entry, message, due)
  if message.cancel then
    settle(entry.key, message, 'cancelled')
    return 'cancelled'
  end
  leave(entry.key, message)
  queue(entry.key, message, due)
  redis.call('HSET', CELL .. 'msg:' .. entry.key, 'attempts', message.attempts, 'error', entry.error)
  local gate = gate_of(entry.number)
  gate.due = math.min(gate.due or due, due)
  return 'queued'
end

-- One POST costs one attempt, also if its lease had ended before.
local function attempt(message)
  if message.state == 'sending' then message.attempts = int(message.attempts + 1) end
end

local handlers = {}

function handlers.retry(entry, message)
  attempt(message)
  local tries = TRIES[message.priority + 1]
  if tries > 0 and message.attempts + 0 >= tries then return dead(entry, message, 'exhausted') end
  local state = back(entry, message, now + entry.value)
  message.error = entry.error
  if state == 'queued' then tell('retry', entry.key, message) end
  return state
end

function handlers.snooze(entry, message)
  local state = back(entry, message, entry.value ~= '' and now + entry.value or tonumber(message.due))
  message.error = entry.error
  if state == 'queued' then tell('snoozed', entry.key, message) end
  return state
end

function handlers.release(entry, message)
  entry.error = message.error or ''
  return back(entry, message, tonumber(message.due))
end

function handlers.reject(entry, message)
  attempt(message)
  return dead(entry, message, 'rejected')
end

function handlers.uncertain(entry, message)
  if message.state == 'uncertain' then return '' end
  attempt(message)
  message.error = entry.error
  redis.call('ZREM', KEY.sending, entry.key)
  redis.call('ZADD', KEY.uncertain, int(now + WINDOW[message.priority + 1]), entry.key)
  redis.call('HSET', CELL .. 'msg:' .. entry.key, 'state', 'uncertain', 'attempts', message.attempts,
    'error', entry.error, 'since', int(now))
  count('uncertain', 'answer')
  tell('uncertain', entry.key, message)
  return 'uncertain'
end

-- A living worker has it in flight, but Redis was rolled back to before the claim.
local function claim_again(entry, message)
  if message.state ~= 'queued' or (message.claim or 0) - entry.claim > 0 then return '' end
  if num(message.failed, 0) - entry.claim >= 0 then return '' end
  leave(entry.key, message)
  redis.call('HDEL', CELL .. 'msg:' .. entry.key, 'parked')
  redis.call('HSET', CELL .. 'msg:' .. entry.key, 'state', 'sending', 'claim', entry.claim)
  redis.call('ZADD', KEY.sending, int(now + entry.value), entry.key)
  redis.call('ZADD', CELL .. 'expiry', message.expires, entry.key)
  return 'sending'
end

local function apply(entry)
  local message = read(entry.key)
  if entry.outcome == 'accepted' then return accepted(entry, message) end
  if not message or message.broken or not message.live then return '' end
  if entry.outcome == 'in_flight' then return claim_again(entry, message) end
  local fenced = (message.state == 'sending' or message.state == 'uncertain') and message.claim == entry.claim
  if not fenced then return '' end
  return handlers[entry.outcome](entry, message)
end

local words = {}
for i, entry in entries() do
  words[i] = apply(entry)
  turn(entry, words[i])
end

for number, gate in pairs(gates) do
  if gate.changed then
    redis.call('HSET', CELL .. 'gate:' .. number, 'until', int(gate.till), 'streak', gate.streak,
      'doubts', gate.doubts, 'closed', int(gate.closed), 'probe', int(gate.probe))
    if gate.why then
      redis.call('HSET', CELL .. 'gate:' .. number, 'why', gate.why, 'credential', gate.credential or '')
    end
  end
  if gate.due or gate.wake then
    -- a block that is one token's alone does not bind whoever has another
    local till = gate.why == 'credential' and 0 or gate.till
    wake(number, math.max(gate.wake and now or gate.due, till))
  end
end
return words
