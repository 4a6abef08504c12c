-- USES base
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
