-- USES base
-- Events for consumers.

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
