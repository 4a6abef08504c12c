-- How numbers stand: counts and heads of lanes, gates, and who could serve them. Reads only, and looks no lane through: the
-- work grows with the numbers asked for, never with their messages. What is not of the kind it should be counts as not
-- there.
--
-- KEYS due
-- ARGS processes (those alive, JSON list)
-- ENTRY number
-- REPLY now_us numbers
-- ROW   urgent normal bulk urgent_us normal_us bulk_us streak till_us why rate refill credential owner able
--       messages in each lane; for how long the head of each is due (µs, 0 if it is not); closings in a row; until when it
--       is closed; why; messages/s, and how many tokens flow into its bucket in a second (0 without a rate); fingerprint
--       of the token that was last used; who serves it now or ''; the processes that have a token for it, by their places
--       in the list, between spaces

local processes = cjson.decode(ARG.processes)

-- The numbers that each process serves are asked for at once.
local able, asked = {}, {}
for i, each in entries() do able[i], asked[i] = {}, each.number end
if #asked > 0 then
  for place, process in ipairs(processes) do
    local found = try('HMGET', CELL .. 'serves:' .. process, unpack(asked)) or {}
    for i = 1, #asked do
      if found[i] then able[i][#able[i] + 1] = place end
    end
  end
end

local NAMES = {'urgent', 'normal', 'bulk'}
local function lanes(number, found)
  local keys = {}
  for lane = 0, 2 do keys[lane + 1] = CELL .. 'lane:' .. number .. ':' .. lane end
  local is_empty = redis.call('EXISTS', unpack(keys)) == 0
  for lane, key in ipairs(keys) do
    local head = not is_empty and try('ZRANGE', key, 0, 0, 'WITHSCORES')
    local is_there = head and head[1]
    found[NAMES[lane]] = is_there and redis.call('ZCARD', key) or 0
    found[NAMES[lane] .. '_us'] = is_there and int(math.max(0, now - num(head[2], now))) or 0
  end
end

local rows = {}
for i, each in entries() do
  local gate = try('HMGET', CELL .. 'gate:' .. each.number, 'streak', 'until', 'probe', 'why', 'token', 'owner', 'rate')
    or {}
  local lease = gate[6] and num(try('ZSCORE', KEY.due, each.number), 0) or 0
  local rate = rate_of(gate[7])
  local _, refill = bucket_of(rate or 0)
  local found = {streak = int(num(gate[1], 0)), till_us = int(math.max(num(gate[2], 0), num(gate[3], 0))),
    why = gate[4] or '', rate = float(rate or 0), refill = float(refill), credential = gate[5] or '', owner = lease > now and gate[6] or '',
    able = table.concat(able[i], ' ')}
  lanes(each.number, found)
  rows[i] = row(found)
end
return reply({now_us = int(now), numbers = rows})
