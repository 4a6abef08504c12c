-- What people write to a number: on to the stream of inbound messages, and off the number's tokens, since Meta counts both
-- directions against its throughput. A message heard of again changes nothing.
--
-- KEYS inbound
-- ENTRY number waba wamid sender kind text raw (JSON)
-- Returns how many are new

redis.call('XDEL', KEY.inbound, '0-1') -- a first write that frees: the script runs in a full server
local fresh, received = 0, {}
for _, each in entries() do
  if redis.call('SET', CELL .. 'heard:' .. each.wamid, '', 'NX', 'PX', HEARD_KEPT) then
    redis.call('XADD', KEY.inbound, 'MINID', '~', int(math.max(0, now / 1000 - HEARD_KEPT)), '*', 'v', '1', 'type', 'message',
      'at', int(now / 1000), 'number', each.number, 'waba', each.waba, 'wamid', each.wamid, 'sender', each.sender,
      'kind', each.kind, 'text', each.text, 'raw', each.raw)
    received[each.number] = (received[each.number] or 0) + 1
    fresh = fresh + 1
  end
end

-- Refilled up to now as a claim would, then debited: the debt is paid before anything more is sent, but never more than a
-- second of it. A number without a rate is nobody's here.
for number, messages in pairs(received) do
  local values = gate_fields(number, 'tokens', 'at', 'rate')
  local rate = rate_of(values[3])
  if rate then
    local _, refill = bucket_of(rate)
    local tokens = math.max(-refill, refilled(values[1], values[2], rate) - messages)
    redis.call('HSET', CELL .. 'gate:' .. number, 'tokens', string.format('%.6f', tokens), 'at', int(now))
  end
end
return fresh
