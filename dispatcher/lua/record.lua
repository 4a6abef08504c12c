-- What the scripts share: the clock, one message's record, and how a message is settled. Put before each script that
-- needs it when it is loaded; it runs no command by itself.
--
-- A live record is a hash `msg:<key>` (state queued, sending or uncertain); a settled one is a packed string under
-- the same name, see PACKED. Times are µs of this server's clock.

local FIELDS = {'state', 'number', 'to', 'priority', 'template', 'category', 'campaign', 'fingerprint', 'enqueued',
  'due', 'expires', 'claim', 'attempts', 'lapses', 'claimed', 'error', 'parked', 'cancel', 'extra'}

-- state and fingerprint stand first: enqueue reads no further
local PACKED = {'state', 'fingerprint', 'cause', 'number', 'to', 'priority', 'template', 'category', 'campaign',
  'claim', 'attempts', 'enqueued', 'due', 'claimed', 'settled', 'wamid', 'error', 'extra'}

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Lua's own conversion keeps 14 digits, a time in µs has 16
local function int(number)
  return string.format('%.0f', number)
end

local function unpacked(text)
  local message, at = {}, 1
  for value in (text .. '\t'):gmatch('([^\t]*)\t') do
    message[PACKED[at] or at] = value ~= '' and value
    at = at + 1
  end
  return message
end

-- The record of a key: a table, or nil where there is none. `live` tells a hash from a packed string; `broken` is a
-- record that cannot be used.
local function read(prefix, key)
  local values = redis.pcall('HMGET', prefix .. 'msg:' .. key, unpack(FIELDS))
  if values.err then
    local text = redis.pcall('GET', prefix .. 'msg:' .. key)
    if type(text) ~= 'string' then return {live = false, broken = true} end
    local message = unpacked(text)
    message.live = false
    return message
  end
  local message, found = {live = true}, false
  for i, name in ipairs(FIELDS) do
    message[name] = values[i]
    found = found or values[i]
  end
  if not found then return nil end
  message.broken = not (message.state and message.number and tonumber(message.priority) and tonumber(message.due)
    and tonumber(message.expires) and tonumber(message.enqueued))
  return message
end

local function lane_of(prefix, message)
  return prefix .. 'lane:' .. message.number .. ':' .. message.priority
end

-- Out of every set that this state is listed in.
local function leave(prefix, key, message)
  if message.state == 'sending' or message.state == 'uncertain' then
    redis.call('ZREM', prefix .. message.state, key)
  elseif message.state == 'dead' then
    redis.call('ZREM', prefix .. 'dead', key)
  elseif message.parked then
    redis.call('ZREM', prefix .. 'parked:' .. message.parked, key)
  elseif message.number and message.priority then
    redis.call('ZREM', lane_of(prefix, message), key)
  end
  redis.call('ZREM', prefix .. 'expiry', key)
end

-- One event on the cell's stream. A producer's callback_data travels along where it gave one.
local function tell(prefix, kind, key, message, now, terms)
  local entry = {'XADD', prefix .. 'events', 'MINID', '~', int(math.max(0, now / 1000 - terms.events)), '*',
    'v', '1', 'type', kind, 'at', int(now / 1000), 'number', message.number or '', 'key', key,
    'wamid', message.wamid or '', 'campaign', message.campaign or '', 'category', message.category or '',
    'attempt', message.attempts or '0', 'cause', message.cause or '', 'error', message.error or ''}
  if message.extra then
    entry[#entry + 1] = 'extra'
    entry[#entry + 1] = redis.call('GET', prefix .. 'extra:' .. key) or ''
  end
  redis.call(unpack(entry))
end

-- Settles a message for good: the record is packed, the body goes or stays for as long as it may be needed.
local function settle(prefix, key, message, state, now, terms)
  leave(prefix, key, message)
  local lane = (tonumber(message.priority) or 1) + 1
  local kept, body_kept = terms.kept[lane], 0
  if state == 'accepted' then body_kept = terms.body[lane] end
  if state == 'dead' then
    kept, body_kept = terms.dead, terms.dead
    redis.call('ZADD', prefix .. 'dead', int(now), key)
  end
  message.state, message.settled = state, int(now)
  local values = {}
  for i, name in ipairs(PACKED) do values[i] = message[name] or '' end
  redis.call('SET', prefix .. 'msg:' .. key, table.concat(values, '\t'), 'PX', kept)
  if body_kept > 0 then
    redis.call('PEXPIRE', prefix .. 'body:' .. key, body_kept)
  else
    redis.call('DEL', prefix .. 'body:' .. key)
  end
  if message.extra then redis.call('PEXPIRE', prefix .. 'extra:' .. key, kept) end
  tell(prefix, state, key, message, now, terms)
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
  if redis.call('HGET', prefix .. 'gate:' .. number, 'owner') then
    local lease = redis.call('ZSCORE', prefix .. 'due', number)
    if lease and tonumber(lease) > now then return end
  end
  redis.call('ZADD', prefix .. 'due', 'LT', int(at), number)
end

-- The action of a stop that binds now, and until when (0: until it is lifted); nil where there is none.
local function binding(row, now)
  if not row then return nil end
  local stop = cjson.decode(row)
  local till = tonumber(stop['until']) or 0
  if till > 0 and till <= now then return nil end
  return stop.action, till
end
