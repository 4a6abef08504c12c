-- How numbers stand: counts and heads of lanes, gates, and whether anybody could serve them. Reads only, and looks no
-- lane through: the work grows with the numbers asked for, never with their messages.
--
-- KEYS  1 due
-- ARGV  1 prefix  2 how many processes, then these, then the numbers
-- Returns now (µs), and a line a number with fields between tabs: messages in each lane, for how long the head of each
--         is due (µs, 0 if it is not), closings in a row, until when it is closed (µs), rate and refill (messages/s, 0
--         without a rate), why, fingerprint of the token, 1 if a process has a token for it. What is not of the kind it
--         should be counts as not there.

local prefix, first = ARGV[1], 3 + ARGV[2]
local now = clock()

-- The numbers that each process serves are asked for at once, and only those that none before it has.
local served, unserved = {}, {}
for at = first, #ARGV do unserved[#unserved + 1] = ARGV[at] end
for at = 3, first - 1 do
  if #unserved == 0 then break end
  local found = try('HMGET', prefix .. 'serves:' .. ARGV[at], unpack(unserved))
  local left = {}
  for i, number in ipairs(unserved) do
    if found and found[i] then served[number] = true else left[#left + 1] = number end
  end
  unserved = left
end

local NOTHING = '0\t0\t0\t0\t0\t0'

local function lanes(number)
  local names = {}
  for lane = 0, 2 do names[lane + 1] = prefix .. 'lane:' .. number .. ':' .. lane end
  if redis.call('EXISTS', unpack(names)) == 0 then return NOTHING end
  local found = {0, 0, 0, '0', '0', '0'}
  for lane, name in ipairs(names) do
    local head = try('ZRANGE', name, 0, 0, 'WITHSCORES')
    if head and head[1] then
      found[lane] = redis.call('ZCARD', name)
      found[3 + lane] = int(math.max(0, now - num(head[2], now)))
    end
  end
  return table.concat(found, '\t')
end

local function plain(text)
  return text and gsub(text, '%c', ' ') or ''
end

local function rates(value)
  local rate = rate_of(value)
  if not rate then return '0\t0' end
  local _, refill = bucket_of(rate)
  return float(rate) .. '\t' .. float(refill)
end

local rows = {}
for at = first, #ARGV do
  local number = ARGV[at]
  local gate = try('HMGET', prefix .. 'gate:' .. number, 'streak', 'until', 'probe', 'why', 'token', 'rate') or {}
  rows[#rows + 1] = table.concat({lanes(number), int(num(gate[1], 0)), int(math.max(num(gate[2], 0), num(gate[3], 0))),
    rates(gate[6]), plain(gate[4]), plain(gate[5]), served[number] and '1' or '0'}, '\t')
end
return {int(now), table.concat(rows, '\n')}
