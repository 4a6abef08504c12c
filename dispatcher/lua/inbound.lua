-- What people write to a number: on to the stream of inbound messages, and off the number's tokens, since Meta counts both
-- directions against its throughput. A message heard of again changes nothing.
--
-- KEYS  1 inbound  2 numbers
-- ARGV  1 prefix  2 how long the stream is kept (ms), then 7 a message: number, WABA, wamid, sender, kind, text, raw (JSON)
-- Returns how many are new

redis.call('HDEL', KEYS[2], '')
local prefix, kept, now = ARGV[1], tonumber(ARGV[2]), clock()
local fresh, received = 0, {}
for at = 3, #ARGV, 7 do
  local number, wamid = ARGV[at], ARGV[at + 2]
  if redis.call('SET', prefix .. 'heard:' .. wamid, '', 'NX', 'PX', kept) then
    redis.call('XADD', KEYS[1], 'MINID', '~', int(math.max(0, now / 1000 - kept)), '*', 'v', '1', 'type', 'message',
      'at', int(now / 1000), 'number', number, 'waba', ARGV[at + 1], 'wamid', wamid, 'sender', ARGV[at + 3],
      'kind', ARGV[at + 4], 'text', ARGV[at + 5], 'raw', ARGV[at + 6])
    received[number] = (received[number] or 0) + 1
    fresh = fresh + 1
  end
end

-- Refilled up to now as a claim would, then debited: the debt is paid before anything more is sent, but never more than a
-- second of it.
for number, count in pairs(received) do
  local known = decoded(redis.call('HGET', KEYS[2], number))
  local rate = known and num(known.rate, 0) or 0
  if rate > 0 then
    local bucket, refill = 1 + 0.015 * rate, 0.96 * rate -- as in policy/gate.py
    local gate = prefix .. 'gate:' .. number
    local values = gate_fields(gate, 'tokens', 'at')
    local elapsed = math.max(0, now - num(values[2], now))
    local tokens = math.min(bucket, num(values[1], bucket) + elapsed * refill / 1000000)
    redis.call('HSET', gate, 'tokens', string.format('%.6f', math.max(-refill, tokens - count)), 'at', int(now))
  end
end
return fresh
