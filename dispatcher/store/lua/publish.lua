-- Writes numbers into the registry, also in a full server: a worker that starts there must be found.
--
-- A rate is written where its gate gives none, and where whoever says it knows better than who said it before: its file
-- has just changed, or was written later. Else two releases of a file would write over each other for ever.
--
-- KEYS  1 numbers  2 names
-- ARGV  1 prefix, then 5 a number: its id, name, WABA or '', messages/s,
--       and when the file that says so was written (µs; 0: known by nobody) or 'now' where it has just changed
-- Returns how many numbers

redis.call('HDEL', KEYS[1], '')
local prefix, now = ARGV[1], clock()

local function ids_of(name)
  return redis.call('HGET', KEYS[2], name) or ''
end

local function without(ids, id)
  local left = {}
  for each in ids:gmatch('%S+') do
    if each ~= id then left[#left + 1] = each end
  end
  return left
end

-- A name stands for its number alone; for more than one, as files may disagree, it stands for none.
local function rename(id, before, after)
  if before and before ~= after then
    local left = without(ids_of(before), id)
    if #left > 0 then
      redis.call('HSET', KEYS[2], before, table.concat(left, ' '))
    else
      redis.call('HDEL', KEYS[2], before)
    end
  end
  if after ~= '' and after ~= id then
    local all = without(ids_of(after), id)
    all[#all + 1] = id
    redis.call('HSET', KEYS[2], after, table.concat(all, ' '))
  end
end

local function set_rate(id, rate, written)
  local gate = prefix .. 'gate:' .. id
  local values = gate_fields(gate, 'rate', 'rate_at')
  local at = written == 'now' and now or math.min(num(written, 0), now)
  if rate_of(values[1]) and at <= num(values[2], 0) then return end
  redis.call('HSET', gate, 'rate', rate, 'rate_at', int(at))
  -- it may be due earlier now (R1)
  if redis.call('ZSCORE', prefix .. 'due', id) then wake(prefix, id, now, now) end
end

for at = 2, #ARGV, 5 do
  local id, name, waba = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local row = decoded(redis.call('HGET', KEYS[1], id))
  rename(id, row and type(row.name) == 'string' and row.name, name)
  redis.call('HSET', KEYS[1], id, cjson.encode({name = name, waba = waba}))
  set_rate(id, ARGV[at + 3], ARGV[at + 4])
end
return (#ARGV - 1) / 5
