-- What the scripts share: the clock, one message's record, and how a message is settled. Put before each script that
-- needs it when it is loaded; the one command that it runs by itself stands at its end.
--
-- A live record is a hash `msg:<key>` (state queued, sending or uncertain); a settled one is a packed string under
-- the same name: one character that says its form, then the values of PACKED between tabs. Times are µs of this server's
-- clock.
--
-- Two releases may serve one cell side by side, so fields are only ever appended, and with PACKED the form is raised. What a release does not know of it keeps: fields of a hash by their names, which `rest` holds
-- in a packed record, and values behind the last of PACKED as the `tail`, which begins with its place.
local FORM = '1'
local PACKED = {'state', 'fingerprint', 'cause', 'number', 'to', 'priority', 'template', 'category', 'campaign',
  'claim', 'attempts', 'enqueued', 'due', 'claimed', 'settled', 'wamid', 'error', 'extra', 'receipts', 'expires',
  'unproven', 'failed', 'others', 'rest'}
-- what nobody needs once a message is settled
local LIVE_ONLY = {'on_uncertain', 'lapses', 'parked', 'cancel', 'since'}

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
local LANES = {['0'] = true, ['1'] = true, ['2'] = true}

local find, gsub, sub = string.find, string.gsub, string.sub

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Lua's own conversion keeps 14 digits, a time in µs has 16
local function int(number)
  return string.format('%.0f', number)
end

-- What arithmetic and scores can bear, else `default`: a field may hold anything after a repair by hand.
local function num(value, default)
  local number = tonumber(value)
  if number and math.abs(number) < 1e17 then return number end
  return default
end

-- A whole number as text: as it is where it is one, for making it again takes ten times as long.
local function whole(value)
  if value and #value < 17 and find(value, '^%d+$') then return value end
  local number = num(value)
  return number and int(number)
end

-- Whether a reply is an error about the data: the key is not what it should be, as a repair by hand may have left
-- anything. An error about anything else (a slot that moves, a full or read-only server, a right that is missing) says
-- nothing about the data and is raised: to whoever asked, Redis is away.
local ABOUT_DATA = {'^WRONGTYPE', 'value is not', 'would overflow', 'no such key'}

local function is_wrong(reply)
  if type(reply) ~= 'table' or not reply.err then return false end
  for _, pattern in ipairs(ABOUT_DATA) do
    if find(reply.err, pattern) then return true end
  end
  error(reply.err, 0)
end

-- A reply, or nil where the key is not what it should be. Scripts use this, not redis.pcall.
local function try(...)
  local reply = redis.pcall(...)
  if is_wrong(reply) then return nil end
  return reply
end

-- The object in a row of JSON; nil where there is none.
local function decoded(row)
  local readable, found = pcall(cjson.decode, row or '')
  return readable and type(found) == 'table' and found or nil
end

-- Gives packed values their names, from a place on; those behind the last name stay together.
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
    message[name] = value
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
local function read(prefix, key)
  local values = try('HGETALL', prefix .. 'msg:' .. key) -- half the price of naming its fields
  if not values then
    local text = try('GET', prefix .. 'msg:' .. key)
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

local function lane_of(prefix, message)
  return prefix .. 'lane:' .. message.number .. ':' .. message.priority
end

-- The scope that a message is parked under. The record holds only what its labels do not say, so that the field stays
-- under 64 bytes.
local function scope_of(message)
  return message.parked .. ':' .. (message[message.parked:match('^%a+')] or '')
end

-- Out of every set that this state is listed in; what cannot be used may be in any.
local function leave(prefix, key, message)
  local state = not message.broken and message.state
  for _, set in ipairs({'sending', 'uncertain', 'dead'}) do
    if state == set or not state then redis.call('ZREM', prefix .. set, key) end
  end
  if (state == 'queued' or not state) and message.number then
    if message.parked then redis.call('ZREM', prefix .. 'parked:' .. scope_of(message), key) end
    if LANES[message.priority] then redis.call('ZREM', lane_of(prefix, message), key) end
  end
  redis.call('ZREM', prefix .. 'expiry', key)
end

-- One event on the cell's stream. A producer's callback_data travels along where it gave one.
local oldest, at -- of one call, in which time stands still
local function tell(prefix, kind, key, message, now, terms, pricing)
  oldest = oldest or int(math.max(0, now / 1000 - (terms.events or now)))
  at = at or int(now / 1000)
  local entry = {'XADD', prefix .. 'events', 'MINID', '~', oldest, '*', 'v', '1', 'type', kind, 'at', at,
    'number', message.number or '', 'key', key, 'wamid', message.wamid or '', 'campaign', message.campaign or '', 'category', message.category or '',
    'attempt', message.attempts or '0', 'cause', message.cause or '', 'error', message.error or ''}
  if message.extra then
    entry[#entry + 1] = 'extra'
    local extra = try('GET', prefix .. 'extra:' .. key)
    entry[#entry + 1] = type(extra) == 'string' and extra or ''
  end
  if pricing and pricing ~= '' then
    entry[#entry + 1] = 'pricing'
    entry[#entry + 1] = pricing
  end
  redis.call(unpack(entry))
end

-- One message of a campaign more or less in a state: one command. That the campaign is alive is written down with the
-- first message of each state and with every 16th, so its last activity is not exact.
local CAMPAIGN_KEPT = 30 * 86400 * 1000 -- ms that counts stay after that

local function tally(prefix, campaign, state, by, now)
  if not campaign or campaign == '' then return end
  local name = prefix .. 'campaign:' .. campaign
  local count = try('HINCRBY', name, state, by)
  if not count or count ~= 1 and count % 16 ~= 0 then return end
  try('ZADD', prefix .. 'campaigns', int(now), campaign)
  redis.call('PEXPIRE', name, CAMPAIGN_KEPT)
end

-- Settles a message for good: the record is packed, the body goes or stays for as long as it may be needed.
local function settle(prefix, key, message, state, now, terms)
  leave(prefix, key, message)
  local was = SETTLED[message.state]
  if was ~= state then
    if was then tally(prefix, message.campaign, was, -1, now) end
    tally(prefix, message.campaign, state, 1, now)
  end
  local lane = (tonumber(message.priority) or 1) + 1
  local kept, body_kept = terms.kept[lane], 0
  if state == 'accepted' then body_kept = terms.body[lane] end
  if state == 'dead' then
    kept, body_kept = terms.dead, terms.dead
    redis.call('ZADD', prefix .. 'dead', int(now), key)
  end
  message.state, message.settled = state, int(now)
  -- what cannot go back to its lane needs none
  if body_kept == 0 or state ~= 'accepted' or message.cancel then message.expires = nil end
  redis.call('SET', prefix .. 'msg:' .. key, packed(message), 'PX', kept)
  if body_kept > 0 then
    redis.call('PEXPIRE', prefix .. 'body:' .. key, body_kept)
  else
    redis.call('DEL', prefix .. 'body:' .. key)
  end
  if message.extra then redis.call('PEXPIRE', prefix .. 'extra:' .. key, kept) end
  tell(prefix, state, key, message, now, terms)
end

-- The time of a message that waits is up. One that may have arrived before is never plainly expired.
local function expire(prefix, key, message, now, terms)
  if num(message.unproven, 0) > 0 then
    message.cause = 'held'
    settle(prefix, key, message, 'dead', now, terms)
    return 'dead'
  end
  settle(prefix, key, message, 'expired', now, terms)
  return 'expired'
end

-- Accepted, as an answer or a receipt of `claim` says: wins in every state. A claim that ended otherwise before has cost
-- its attempt then.
local function accept(prefix, key, message, wamid, claim, now, terms)
  local behind = num(claim, 0) - num(message.claim, 0)
  if behind > 0 or behind == 0 and message.state == 'sending' then
    message.attempts = int(num(message.attempts, 0) + 1)
  end
  message.wamid, message.cause, message.error = wamid, nil, nil
  settle(prefix, key, message, 'accepted', now, terms)
end

-- Accepted a second time; both ids are named once, and false says that they were before.
local function accept_again(prefix, key, message, wamid, now, terms)
  if message.wamid == wamid or (message.others or ''):find(wamid, 1, true) then return false end
  message.others = message.others and message.others .. ' ' .. wamid or wamid
  redis.call('SET', prefix .. 'msg:' .. key, packed(message), 'KEEPTTL')
  local first, cause = message.wamid, message.cause
  message.wamid, message.cause = wamid, first
  tell(prefix, 'duplicate', key, message, now, terms)
  message.wamid, message.cause = first, cause
  return true
end

-- Dead, because there is nothing to send: its record or its body is gone or cannot be read.
local function lose(prefix, key, message, now, terms)
  if not message or message.broken then
    local known = message or {}
    message = {broken = true, number = known.number, priority = LANES[known.priority] and known.priority,
      fingerprint = known.fingerprint, parked = known.parked, campaign = known.campaign}
  end
  message.cause = 'lost'
  settle(prefix, key, message, 'dead', now, terms)
end

-- Back into its lane, due at `due`.
local function queue(prefix, key, message, due)
  redis.call('HDEL', prefix .. 'msg:' .. key, 'parked')
  redis.call('HSET', prefix .. 'msg:' .. key, 'state', 'queued')
  redis.call('ZADD', lane_of(prefix, message), int(due), key)
  redis.call('ZADD', prefix .. 'expiry', message.expires, key)
end

-- R1: makes the number due at `at`, unless an owner is alive, who will look within 50 ms.
local function wake(prefix, number, at, now)
  if try('HGET', prefix .. 'gate:' .. number, 'owner') then
    local lease = redis.call('ZSCORE', prefix .. 'due', number)
    if lease and tonumber(lease) > now then return end
  end
  redis.call('ZADD', prefix .. 'due', 'LT', int(at), number)
end

-- The action of a stop that binds now, and until when (0: until it is lifted); nil where there is none. A row that
-- cannot be read holds: somebody wanted a stop.
local function binding(row, now)
  if not row then return nil end
  local stop = decoded(row)
  if not stop then return 'hold', 0 end
  local till = num(stop['until'], 0)
  if till > 0 and till <= now then return nil end
  return stop.action == 'cancel' and 'cancel' or 'hold', till
end

-- Fields of a number's gate. What is no hash there is nothing of ours and goes, or it would block the number for good.
local function gate_fields(key, ...)
  local values = try('HMGET', key, ...)
  if values then return values end
  redis.call('DEL', key)
  return {}
end

-- While a slot of a cluster moves key by key, a script would find some of its keys here and others not, and break off
-- half way: it must not begin. A key that is never there tells, since whoever asks for one that is missing is sent on.
redis.call('EXISTS', KEYS[1]:match('^[^}]*}') .. ':never')
