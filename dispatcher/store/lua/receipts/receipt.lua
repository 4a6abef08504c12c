-- What Meta says later of messages it accepted: sent, delivered, read, played, failed. A receipt proves an acceptance
-- whose answer was lost; states only move forward, and the same receipt again changes nothing.
--
-- USES message
-- KEYS sending
-- ENTRY key claim wamid status number waba recipient error after pricing
--       key '' if another program sent it; recipient '' if unknown; when a failed one may be tried again (µs from now, or
--       '' for never); pricing JSON or ''
-- Returns {word, lane, after} an entry: what the message is now, 'duplicate' (accepted twice), 'foreign' (no message of
--         ours), or '' (nothing new); its lane and the time from its acceptance to now (µs) if this is the first to say
--         that it arrived, else '' and ''. Where the acceptance itself was not known before, there is no such time.

-- what was true of the claim that failed, and is not of the next
local OVER = {'wamid', 'cause', 'claimed', 'receipts', 'unproven', 'settled', 'others'}
local RANK = {accepted = 1, sent = 2, delivered = 3, read = 4, played = 5}
local BIT = {sent = 1, delivered = 2, read = 4, played = 8, failed = 16}
local OTHER = 32                    -- a status that Meta may invent
local SAME_KEPT = 90 * 86400 * 1000 -- ms that two names of one recipient are remembered
local WITNESS_KEPT = 86400 * 1000

redis.call('ZREM', KEY.sending, '')

-- The latest claim of each number, and of each of its templates, that a receipt has come for: absence of another's is
-- judged by it.
local witnesses = {}
local function witness(message, receipt)
  if message.claim ~= receipt.claim or not message.claimed then return end -- of an earlier claim we know no time
  local seen = witnesses[message.number] or {}
  for _, name in ipairs({'', message.template or ''}) do
    seen[name] = math.max(seen[name] or 0, num(message.claimed, 0))
  end
  witnesses[message.number] = seen
end

-- Meta may know a recipient by another phone than the one we sent to, as in Brazil and Mexico: who opts out by the one is
-- not written to by the other.
local function remember_same(message, receipt)
  local phone = receipt.recipient
  if phone:sub(1, 1) ~= '+' or not message.to or message.to:sub(1, 1) ~= '+' or phone == message.to then return end
  redis.call('SET', CELL .. 'same:' .. phone, message.to, 'PX', SAME_KEPT)
  for _, category in ipairs({'marketing', 'utility', 'authentication', 'service'}) do
    local list = CELL .. 'suppressed:' .. receipt.waba .. ':' .. category
    local row = try('HGET', list, phone)
    if row then redis.call('HSETNX', list, message.to, row) end
  end
end

-- Back to its lane with its next claim number; what is heard of claims up to this one is no news from now on.
local function again(receipt, message)
  local claim, due = math.max(num(message.claim, 0), num(receipt.claim, 0)), now + receipt.after
  local first = message.wamid
  tally(message.campaign, SETTLED[message.state], -1)
  message.failed, message.claim, message.error = int(claim), int(claim), receipt.error
  for _, name in ipairs(OVER) do message[name] = nil end
  redis.call('DEL', CELL .. 'msg:' .. receipt.key)
  redis.call('HSET', CELL .. 'msg:' .. receipt.key, unpack(as_hash(message)))
  redis.call('PERSIST', CELL .. 'body:' .. receipt.key)
  redis.call('PERSIST', CELL .. 'extra:' .. receipt.key)
  queue(receipt.key, message, due)
  wake(message.number, due)
  message.wamid = first
  tell('retry', receipt.key, message)
  return 'queued'
end

local function may_go_again(receipt, message)
  local tries = TRIES[message.priority + 1]
  return receipt.after and num(message.expires, 0) > now + receipt.after
    and (tries == 0 or num(message.attempts, 0) < tries)
    and redis.call('EXISTS', CELL .. 'body:' .. receipt.key) == 1
end

local function fail(receipt, message)
  if may_go_again(receipt, message) then return again(receipt, message) end
  message.cause, message.error = 'failed', receipt.error
  settle(receipt.key, message, 'dead')
  return 'dead'
end

-- How long an acceptance is known when the first receipt says that the message arrived; nil of a broken record.
local function delivered_after(message)
  local accepted = num(message.settled)
  return accepted and LANES[message.priority] and int(math.max(0, now - accepted))
end

local function apply(receipt)
  local message = receipt.key ~= '' and read(receipt.key)
  if not message or message.broken or message.number ~= receipt.number then
    tell(receipt.status, '', {number = receipt.number, wamid = receipt.wamid, error = receipt.error},
      receipt.pricing)
    return 'foreign'
  end
  if num(message.failed, 0) >= num(receipt.claim, 0) then return '' end
  witness(message, receipt)
  remember_same(message, receipt)
  local was_known = message.wamid
  if not was_known then
    accept(receipt.key, message, receipt.wamid, receipt.claim)
  elseif message.wamid ~= receipt.wamid then
    return accept_again(receipt.key, message, receipt.wamid) and 'duplicate' or ''
  end
  local bit, known = BIT[receipt.status] or OTHER, num(message.receipts, 0)
  if math.floor(known / bit) % 2 == 1 then return '' end
  message.receipts = int(known + bit)
  local error = message.error
  message.error = receipt.error
  tell(receipt.status, receipt.key, message, receipt.pricing)
  message.error = error
  local rank, stands = RANK[receipt.status], RANK[message.state]
  if receipt.status == 'failed' and stands and stands < RANK.delivered then return fail(receipt, message) end
  local after = was_known and rank and stands and rank >= RANK.delivered and stands < RANK.delivered
    and delivered_after(message)
  if rank and stands and rank > stands then message.state = receipt.status end
  if rank and stands and rank >= RANK.delivered then -- not of a dead one, which a person may send again
    message.expires = nil
    redis.call('DEL', CELL .. 'body:' .. receipt.key)
  end
  redis.call('SET', CELL .. 'msg:' .. receipt.key, packed(message), 'KEEPTTL')
  return message.state, after and message.priority, after
end

local found = {}
for i, receipt in entries() do
  receipt.after = tonumber(receipt.after)
  local word, lane, after = apply(receipt)
  found[i] = {word, lane or '', after or ''}
end
for number, seen in pairs(witnesses) do
  local name = CELL .. 'witness:' .. number
  for template, claimed in pairs(seen) do
    if claimed > num(try('HGET', name, template), 0) then try('HSET', name, template, int(claimed)) end
  end
  redis.call('PEXPIRE', name, WITNESS_KEPT)
end
return found
