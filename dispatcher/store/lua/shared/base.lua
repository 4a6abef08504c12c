-- What every script has: the time, numbers as text, replies that may be of the wrong kind, and what is written down of the
-- cell as a whole and of each number. Its constants are written before it when a script is loaded, see scripts.py. Times are µs of this
-- server's clock.

local LANES = {['0'] = true, ['1'] = true, ['2'] = true}
local LANE_NAMES = {'urgent', 'normal', 'bulk'}

local find, gsub, sub = string.find, string.gsub, string.sub

local TIME = redis.call('TIME')
local now = TIME[1] * 1000000 + TIME[2]

-- Lua's own conversion keeps 14 digits, a time in µs has 16
local function int(number)
  return string.format('%.0f', number)
end

-- As many digits as bring a number back as it was.
local function float(number)
  return string.format('%.17g', number)
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

-- The webhook door may have missed something, last at `at`. What is known of gaps never moves back, whatever the clock
-- does.
local function mark_gap(at)
  local known = num(try('HGET', CELL .. 'door', 'gap'), 0)
  redis.call('HSET', CELL .. 'door', 'gap', int(math.max(at, known)))
end

-- Takes an entry that is done with out of a stream: never one without the other, so that the first entry of the stream is
-- always the oldest that is not done with. How many were there.
local function finish(stream, group, id)
  local there = redis.call('XDEL', stream, id)
  try('XACK', stream, group, id)
  return there
end

-- Writes down the schema of the cell's data, where nobody has or an earlier release did; see store/schema.py.
local function keep_schema()
  local found = try('GET', CELL .. 'schema') or ''
  if #found > 9 or not find(found, '^%d+$') or found - SCHEMA < 0 then redis.call('SET', CELL .. 'schema', SCHEMA) end
end

-- A number's gate, when the number needs serving, and what stops say.

-- Fields of a gate. What is no hash there is nothing of ours and goes, or it would block the number for good.
local function gate_fields(number, ...)
  local values = try('HMGET', CELL .. 'gate:' .. number, ...)
  if values then return values end
  redis.call('DEL', CELL .. 'gate:' .. number)
  return {}
end

-- R1: makes the number due at `at`, unless an owner is alive, who will look within 50 ms.
local function wake(number, at)
  if try('HGET', CELL .. 'gate:' .. number, 'owner') then
    local lease = redis.call('ZSCORE', CELL .. 'due', number)
    if lease and tonumber(lease) > now then return end
  end
  redis.call('ZADD', CELL .. 'due', 'LT', int(at), number)
end

-- The messages a second that a gate gives its number; nil where it gives none.
local function rate_of(value)
  local rate = num(value, 0)
  return rate > 0 and rate or nil
end

-- How many tokens the bucket of a number holds, and how many flow into it in a second, at `rate` messages a second. Only
-- here: whoever paces, waits or shows is told.
--
-- R is the rate, B the bucket's size, r its refill, J the unevenness of the way from claim to wire (25 ms). Requests that
-- leave within one second were claimed within 1 + J seconds, so there are at most B + r * (1 + J) of them. They are whole,
-- so no window holds more than R as long as that stays below R + 1: r <= (R - B + 1) / (1 + J). With B = 1 + 0.015 * R
-- this is r <= 0.9609 * R. The 1 lets the slowest number send at all, the 0.015 * R (15 ms of rate) makes up for claims
-- that come late. Measured: 96 % used; a bucket of 2 % with a full refill reached 81 at 80 a second, 1,019 at 1,000.
local function bucket_of(rate)
  return 1 + 0.015 * rate, 0.96 * rate
end

-- The tokens of a bucket now, refilled since `at`. It owes a second of refill at most, and begins full.
local function refilled(tokens, at, rate)
  local size, refill = bucket_of(rate)
  local elapsed = math.max(0, now - num(at, now)) -- a clock that steps back refills nothing
  return math.min(size, math.max(-refill, num(tokens, size)) + elapsed * refill / 1000000)
end

-- The action of a stop that binds now, and until when (0: until it is lifted); nil where there is none. A row that
-- cannot be read holds: somebody wanted a stop.
local function binding(row)
  if not row then return nil end
  local stop = decoded(row)
  if not stop then return 'hold', 0 end
  local till = num(stop['until'], 0)
  if till > 0 and till <= now then return nil end
  return stop.action == 'cancel' and 'cancel' or 'hold', till
end

-- While a slot of a cluster moves key by key, a script would find some of its keys here and others not, and break off
-- half way: it must not begin. A key that is never there tells, since whoever asks for one that is missing is sent on.
redis.call('EXISTS', CELL .. 'never')
