-- What people write to a number: on to the stream of inbound messages, and off the number's tokens, since Meta counts both
-- directions against its throughput. A message heard of again changes nothing.
--
-- KEYS  1 inbound
-- ARGV  1 prefix  2 how long the stream is kept (ms), then 7 a message: number, WABA, wamid, sender, kind, text, raw (JSON)
-- Returns how many are new

redis.call('XDEL', KEYS[1], '0-1') -- a first write that frees: the script runs in a full server
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
-- second of it. A number without a rate is nobody's here.
for number, count in pairs(received) do
  local gate = prefix .. 'gate:' .. number
  local values = gate_fields(gate, 'tokens', 'at', 'rate')
  local rate = rate_of(values[3])
  if rate then
    local _, refill = bucket_of(rate)
    local tokens = math.max(-refill, refilled(values[1], values[2], rate, now) - count)
    redis.call('HSET', gate, 'tokens', string.format('%.6f', tokens), 'at', int(now))
  end
end
return fresh
