-- USES base
-- A message: its record, what its campaign and consumers are told, and how it is settled.

-- The record of a message. A live one is a hash `msg:<key>` (state queued, sending or uncertain); a settled one is a packed
-- string under the same name: one character that says its form, then the values of PACKED between tabs.
--
-- Two releases may serve one cell side by side. So fields are only ever appended, and whoever appends to PACKED raises
-- FORM; and a release keeps what it does not know: the fields of a hash under their names, which a packed record holds in
-- `rest`, and the values behind the last of PACKED as the `tail`, which begins with the place of its first.
local FORM = '1'
local PACKED = {'state', 'fingerprint', 'cause', 'number', 'to', 'priority', 'template', 'category', 'campaign',
  'claim', 'attempts', 'enqueued', 'due', 'claimed', 'settled', 'wamid', 'error', 'extra', 'receipts', 'expires',
  'unproven', 'failed', 'others', 'rest'}
-- what nobody needs once a message is settled
local LIVE_ONLY = {'on_uncertain', 'lapses', 'parked', 'cancel', 'since', 'mark'}

-- kept as µs since `enqueued`, which is half as long; `expires` in whole seconds
local SINCE = {due = 1, claimed = 1, settled = 1, expires = 1000000}
local WAMID = 'wamid.' -- all of Meta's ids begin so, and it is left out
-- what others than this program wrote
local FREE = {cause = true, to = true, template = true, category = true, campaign = true, wamid = true, error = true,
  others = true}

local LIVE = {queued = true, sending = true, uncertain = true}
-- and what each counts as for its campaign: what receipts add to an acceptance changes no count
local SETTLED = {accepted = 'accepted', sent = 'accepted', delivered = 'accepted', read = 'accepted',
  played = 'accepted', expired = 'expired', cancelled = 'cancelled', suppressed = 'suppressed', dead = 'dead'}
-- and how a packed record has it
local LETTER = {accepted = 'a', sent = 's', delivered = 'd', read = 'r', played = 'p', expired = 'e', cancelled = 'c',
  suppressed = 'u', dead = 'x'}
local STATE = {a = 'accepted', s = 'sent', d = 'delivered', r = 'read', p = 'played', e = 'expired', c = 'cancelled',
  u = 'suppressed', x = 'dead'}

-- Gives packed values their names, from a place on, where a hash has no newer one; those behind the last name stay
-- together.
local function name_values(message, place, text)
  local at = 1
  while at and PACKED[place] do
    local stop, name = find(text, '\t', at, true), PACKED[place]
    local value = sub(text, at, stop and stop - 1)
    if value == '' then
      value = false
    elseif SINCE[name] then
      value = int(num(message.enqueued, 0) + num(value, 0) * SINCE[name])
    end
    if message[name] == nil then message[name] = value end
    at, place = stop and stop + 1, place + 1
  end
  message.tail = at and place .. '\t' .. sub(text, at)
end

local function unpacked(text)
  local message, form = {}, sub(text, 1, 1)
  if form > FORM then message.form = form end
  name_values(message, 1, sub(text, 2))
  message.state = STATE[message.state]
  if message.wamid then message.wamid = message.wamid:sub(1, 1) == '=' and message.wamid:sub(2) or WAMID .. message.wamid end
  if message.rest then
    for name, value in message.rest:gmatch('([%w_]+)=(%C*)') do message[name] = value end
  end
  return message
end

-- The fields that this release does not know, on one line; nil if there is none.
local known
local function rest_of(message)
  if not known then
    known = {live = true, broken = true, form = true, tail = true}
    for _, names in ipairs({PACKED, LIVE_ONLY}) do
      for _, name in ipairs(names) do known[name] = true end
    end
  end
  local rest
  for name, value in pairs(message) do
    if not known[name] and type(value) == 'string' and find(name, '^[%w_]+$') then
      rest = rest or {}
      rest[#rest + 1] = name .. '=' .. gsub(value, '%c', ' ')
    end
  end
  if not rest then return nil end
  table.sort(rest)
  return table.concat(rest, '\31')
end

-- One line, which nothing in a field may break. What is empty at the end is left out.
local function packed(message)
  local values, last, enqueued = {}, 0, num(message.enqueued, 0)
  if message.live or message.rest then message.rest = rest_of(message) end
  for i, name in ipairs(PACKED) do
    local value = message[name] or ''
    if value ~= '' then
      local unit = SINCE[name]
      if i == 1 then
        value = LETTER[value] or ''
      elseif unit then
        value = int(math.floor((num(value, 0) - enqueued) / unit))
      elseif name == 'wamid' then
        value = sub(value, 1, #WAMID) == WAMID and sub(value, #WAMID + 1) or '=' .. value
      end
      if FREE[name] and find(value, '%c') then value = gsub(value, '%c', ' ') end
      last = i
    end
    values[i] = value
  end
  local place, tail = (message.tail or ''):match('^(%d%d?)\t(.*)$')
  if tail then
    for i = #PACKED + 1, place - 1 do values[i] = '' end
    last = math.max(#PACKED, place - 1) + 1
    values[last] = tail
  end
  return (message.form and sub(message.form, 1, 1) or FORM) .. table.concat(values, '\t', 1, last)
end

-- Every field of a message as a live record has it, as HSET takes them.
local function as_hash(message)
  local fields = {}
  for name, value in pairs(message) do
    if type(value) == 'string' and name ~= 'rest' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  return fields
end

-- The record of a key: a table, or nil where there is none. `live` tells a hash from a packed string; `broken` is a
-- record that cannot be used.
local function read(key)
  local values = try('HGETALL', CELL .. 'msg:' .. key) -- half the price of naming its fields
  if not values then
    local text = try('GET', CELL .. 'msg:' .. key)
    local message = type(text) == 'string' and unpacked(text) or {}
    message.live, message.broken = false, not SETTLED[message.state]
    return message
  end
  if #values == 0 then return nil end
  local message = {}
  for i = 1, #values, 2 do message[values[i]] = values[i + 1] end
  message.live = true
  local place, tail = (message.tail or ''):match('^(%d%d?)\t(.*)$')
  if tail then name_values(message, place + 0, tail) end
  message.due, message.expires = whole(message.due), whole(message.expires)
  message.attempts = whole(message.attempts) or '0'
  local claim = message.claim
  message.claim = claim and whole(claim)
  -- without its claim number there is no fence
  message.broken = not (LIVE[message.state] and message.number and LANES[message.priority] and message.due
    and message.expires and num(message.enqueued) and (message.claim or not claim))
  return message
end

local function lane_of(message)
  return CELL .. 'lane:' .. message.number .. ':' .. message.priority
end

-- The scope that a message is parked under. The record holds only what its labels do not say, so that the field stays
-- under 64 bytes.
local function scope_of(message)
  return message.parked .. ':' .. (message[message.parked:match('^%a+')] or '')
end

-- Out of every set that this state is listed in; what cannot be used may be in any.
local function leave(key, message)
  local state = not message.broken and message.state
  for _, set in ipairs({'sending', 'uncertain', 'dead'}) do
    if state == set or not state then redis.call('ZREM', CELL .. set, key) end
  end
  if (state == 'queued' or not state) and message.number then
    if message.parked then redis.call('ZREM', CELL .. 'parked:' .. scope_of(message), key) end
    if LANES[message.priority] then redis.call('ZREM', lane_of(message), key) end
  end
  redis.call('ZREM', CELL .. 'expiry', key)
end

-- Back into its lane, due at `due`.
local function queue(key, message, due)
  redis.call('HDEL', CELL .. 'msg:' .. key, 'parked')
  redis.call('HSET', CELL .. 'msg:' .. key, 'state', 'queued')
  redis.call('ZADD', lane_of(message), int(due), key)
  redis.call('ZADD', CELL .. 'expiry', message.expires, key)
end

-- Counts of what happened in the cell, for metrics: gathered in a call, and written when its script has ended.

local counts = {}

local function count(name, ...)
  local field = table.concat({name, ...}, '|')
  counts[field] = (counts[field] or 0) + 1
end

local function write_counts()
  for field, by in pairs(counts) do try('HINCRBY', CELL .. 'counts', field, by) end
end

-- One message of a campaign more or less in a state: one command. That the campaign is alive is written down with the
-- first message of each state and with every 16th, so its last activity is not exact.
local CAMPAIGN_KEPT = 30 * 86400 * 1000 -- ms that counts stay after that

local function tally(campaign, state, by)
  if not campaign or campaign == '' then return end
  local name = CELL .. 'campaign:' .. campaign
  local total = try('HINCRBY', name, state, by)
  if not total or total ~= 1 and total % 16 ~= 0 then return end
  try('ZADD', CELL .. 'campaigns', int(now), campaign)
  redis.call('PEXPIRE', name, CAMPAIGN_KEPT)
end

-- One event on the cell's stream. A producer's callback_data travels along where it gave one.
local oldest, at -- of one call, in which time stands still
local function tell(kind, key, message, pricing)
  oldest = oldest or int(math.max(0, now / 1000 - EVENTS_KEPT))
  at = at or int(now / 1000)
  local entry = {'XADD', CELL .. 'events', 'MINID', '~', oldest, '*', 'v', '1', 'type', kind, 'at', at,
    'number', message.number or '', 'key', key, 'wamid', message.wamid or '', 'campaign', message.campaign or '',
    'category', message.category or '', 'attempt', message.attempts or '0', 'cause', message.cause or '', 'error', message.error or ''}
  if message.extra then
    entry[#entry + 1] = 'extra'
    local extra = try('GET', CELL .. 'extra:' .. key)
    entry[#entry + 1] = type(extra) == 'string' and extra or ''
  end
  if pricing and pricing ~= '' then
    entry[#entry + 1] = 'pricing'
    entry[#entry + 1] = pricing
  end
  redis.call(unpack(entry))
end

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
