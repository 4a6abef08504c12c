-- USES base record event campaign count
-- How a message is settled, for whatever reason.

-- Settles a message for good: the record is packed, the body goes or stays for as long as it may be needed.
local function settle(key, message, state)
  leave(key, message)
  local was = SETTLED[message.state]
  if was ~= state then
    if was then tally(message.campaign, was, -1) end
    tally(message.campaign, state, 1)
  end
  local lane = (tonumber(message.priority) or 1) + 1
  local kept, body_kept = RECORD_KEPT[lane], 0
  if state == 'accepted' then body_kept = BODY_KEPT[lane] end
  if state == 'dead' then
    kept, body_kept = DEAD_KEPT, DEAD_KEPT
    redis.call('ZADD', CELL .. 'dead', int(now), key)
  end
  message.state, message.settled = state, int(now)
  -- what cannot go back to its lane needs none
  if body_kept == 0 or state ~= 'accepted' or message.cancel then message.expires = nil end
  redis.call('SET', CELL .. 'msg:' .. key, packed(message), 'PX', kept)
  if body_kept > 0 then
    redis.call('PEXPIRE', CELL .. 'body:' .. key, body_kept)
  else
    redis.call('DEL', CELL .. 'body:' .. key)
  end
  if message.extra then redis.call('PEXPIRE', CELL .. 'extra:' .. key, kept) end
  count('settled', state, state == 'dead' and message.cause or 'none')
  tell(state, key, message)
end

-- The time of a message that waits is up. One that may have arrived before is never plainly expired.
local function expire(key, message)
  if num(message.unproven, 0) > 0 then
    message.cause = 'held'
    settle(key, message, 'dead')
    return 'dead'
  end
  settle(key, message, 'expired')
  return 'expired'
end

-- Accepted, as an answer or a receipt of `claim` says: wins in every state. A claim that ended otherwise before has cost
-- its attempt then.
local function accept(key, message, wamid, claim)
  local behind = num(claim, 0) - num(message.claim, 0)
  if behind > 0 or behind == 0 and message.state == 'sending' then
    message.attempts = int(num(message.attempts, 0) + 1)
  end
  message.wamid, message.cause, message.error = wamid, nil, nil
  settle(key, message, 'accepted')
end

-- Accepted a second time; both ids are named once, and false says that they were before.
local function accept_again(key, message, wamid)
  if message.wamid == wamid or (message.others or ''):find(wamid, 1, true) then return false end
  message.others = message.others and message.others .. ' ' .. wamid or wamid
  redis.call('SET', CELL .. 'msg:' .. key, packed(message), 'KEEPTTL')
  count('accepted_again')
  local first, cause = message.wamid, message.cause
  message.wamid, message.cause = wamid, first
  tell('duplicate', key, message)
  message.wamid, message.cause = first, cause
  return true
end

-- Dead, because there is nothing to send: its record or its body is gone or cannot be read.
local function lose(key, message)
  if not message or message.broken then
    local known = message or {}
    message = {broken = true, number = known.number, priority = LANES[known.priority] and known.priority,
      fingerprint = known.fingerprint, parked = known.parked, campaign = known.campaign}
  end
  message.cause = 'lost'
  settle(key, message, 'dead')
end
