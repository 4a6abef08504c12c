-- Puts messages into their lanes, or recognises a key that is known; each message stands for itself.
--
-- KEYS  1 due  2 expiry
-- ARGV  1 prefix  2 terms (JSON, as for claim), then 15 a message: key, number, recipient, priority 0-2, category,
--       campaign, template, fingerprint, not before (µs or ''), time to live (µs or ''), expires at (µs or ''),
--       on_uncertain, body without its last brace, extra (JSON or ''), the key that it replaces or ''
-- Returns two a message: 'queued' | 'duplicate' | 'conflict', and the state of the key
-- A full server refuses the first SET, and with it the whole call: nothing is queued then.

local prefix = ARGV[1]
local now = clock()
local replies, first_due = {}, {}

-- A newer message stands for an older one to the same recipient: what waits is cancelled, and what is under way does not
-- come back to its lane.
local function replace(key, recipient)
  local older = read(prefix, key)
  if not older or older.broken or not older.live or older.to ~= recipient then return end
  if older.state == 'queued' then
    older.cause = 'replaced'
    settle(prefix, key, older, 'cancelled', now, cjson.decode(ARGV[2]))
  else
    redis.call('HSET', prefix .. 'msg:' .. key, 'cancel', '1')
  end
end

for at = 3, #ARGV, 15 do
  local key, number, fingerprint = ARGV[at], ARGV[at + 1], ARGV[at + 7]
  local known = read(prefix, key)
  if known then
    -- an empty fingerprint is that of a message whose record was lost and came back with its acceptance
    local same = not known.fingerprint or known.fingerprint == fingerprint
    replies[#replies + 1] = same and 'duplicate' or 'conflict'
    replies[#replies + 1] = known.broken and 'dead' or known.state
  else
    redis.call('SET', prefix .. 'body:' .. key, ARGV[at + 12])
    -- one µs apart, so that messages of one call keep their order
    local enqueued = now + (at - 3) / 15
    local due = math.max(enqueued, tonumber(ARGV[at + 8]) or 0)
    local expires = tonumber(ARGV[at + 10]) or due + tonumber(ARGV[at + 9])
    local record = {'HSET', prefix .. 'msg:' .. key, 'state', 'queued', 'number', number, 'to', ARGV[at + 2],
      'priority', ARGV[at + 3], 'category', ARGV[at + 4], 'fingerprint', fingerprint, 'enqueued', int(enqueued),
      'due', int(due), 'expires', int(expires), 'on_uncertain', ARGV[at + 11]}
    local optional = {campaign = ARGV[at + 5], template = ARGV[at + 6]}
    for name, value in pairs(optional) do
      if value ~= '' then
        record[#record + 1] = name
        record[#record + 1] = value
      end
    end
    if ARGV[at + 13] ~= '' then
      redis.call('SET', prefix .. 'extra:' .. key, ARGV[at + 13])
      record[#record + 1] = 'extra'
      record[#record + 1] = '1'
    end
    -- the record last: should its lane be no lane, then the key is not known and the next try is refused as well
    redis.call('ZADD', prefix .. 'lane:' .. number .. ':' .. ARGV[at + 3], int(due), key)
    redis.call('ZADD', KEYS[2], int(expires), key)
    redis.call(unpack(record))
    tally(prefix, ARGV[at + 5], 'queued', 1, now)
    if ARGV[at + 14] ~= '' then replace(ARGV[at + 14], ARGV[at + 2]) end
    first_due[number] = math.min(first_due[number] or due, due)
    replies[#replies + 1] = 'queued'
    replies[#replies + 1] = 'queued'
  end
end

for number, due in pairs(first_due) do wake(prefix, number, due, now) end
return replies
