-- Puts messages into their lanes, or recognises a key that is known; each message stands for itself.
--
-- USES message
-- KEYS due expiry
-- ENTRY key number recipient priority category campaign template fingerprint
-- ENTRY not_before_us ttl_us expires_us on_uncertain body extra replaces
--       priority 0-2; the three times may be '', one of the last two is given; body without its last brace; extra JSON or
--       ''; the key that it replaces or ''
-- Returns {word, state} an entry: 'queued' | 'duplicate' | 'conflict', and the state of the key
-- A full server refuses the first SET, and with it the whole call: nothing is queued then.

local replies, first_due = {}, {}

-- A newer message stands for an older one to the same recipient: what waits is cancelled, and what is under way does not
-- come back to its lane.
local function replace(key, recipient)
  local older = read(key)
  if not older or older.broken or not older.live or older.to ~= recipient then return end
  if older.state == 'queued' then
    older.cause = 'replaced'
    settle(key, older, 'cancelled')
  else
    redis.call('HSET', CELL .. 'msg:' .. key, 'cancel', '1')
  end
end

local function store(new, enqueued)
  local key = new.key
  redis.call('SET', CELL .. 'body:' .. key, new.body)
  local due = math.max(enqueued, tonumber(new.not_before_us) or 0)
  local expires = tonumber(new.expires_us) or due + tonumber(new.ttl_us)
  local record = {'HSET', CELL .. 'msg:' .. key, 'state', 'queued', 'number', new.number, 'to', new.recipient,
    'priority', new.priority, 'category', new.category, 'fingerprint', new.fingerprint, 'enqueued', int(enqueued),
    'due', int(due), 'expires', int(expires), 'on_uncertain', new.on_uncertain}
  for _, name in ipairs({'campaign', 'template'}) do
    if new[name] ~= '' then
      record[#record + 1] = name
      record[#record + 1] = new[name]
    end
  end
  if new.extra ~= '' then
    redis.call('SET', CELL .. 'extra:' .. key, new.extra)
    record[#record + 1] = 'extra'
    record[#record + 1] = '1'
  end
  -- the record last: should its lane be no lane, then the key is not known and the next try is refused as well
  redis.call('ZADD', CELL .. 'lane:' .. new.number .. ':' .. new.priority, int(due), key)
  redis.call('ZADD', KEY.expiry, int(expires), key)
  redis.call(unpack(record))
  count('enqueued', LANE_NAMES[new.priority + 1])
  tally(new.campaign, 'queued', 1)
  if new.replaces ~= '' then replace(new.replaces, new.recipient) end
  first_due[new.number] = math.min(first_due[new.number] or due, due)
end

for i, new in entries() do
  local known = read(new.key)
  if known then
    -- an empty fingerprint is that of a message whose record was lost and came back with its acceptance
    local same = not known.fingerprint or known.fingerprint == new.fingerprint
    replies[i] = {same and 'duplicate' or 'conflict', known.broken and 'dead' or known.state}
  else
    store(new, now + i - 1) -- one µs apart, so that messages of one call keep their order
    replies[i] = {'queued', 'queued'}
  end
end

for number, due in pairs(first_due) do wake(number, due) end
return replies
