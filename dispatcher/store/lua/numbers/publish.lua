-- Writes numbers into the registry, also in a full server: a worker that starts there must be found.
--
-- A rate is written where its gate gives none, and where whoever says it knows better than who said it before: its file
-- has just changed, or was written later. Else two releases of a file would write over each other for ever.
--
-- KEYS numbers names
-- ENTRY id name waba rate written
--       WABA or ''; messages/s; when the file that says so was written (µs; 0: known by nobody) or 'now' where it has just
--       changed
-- Returns how many numbers

redis.call('HDEL', KEY.numbers, '')

local function ids_of(name)
  return redis.call('HGET', KEY.names, name) or ''
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
      redis.call('HSET', KEY.names, before, table.concat(left, ' '))
    else
      redis.call('HDEL', KEY.names, before)
    end
  end
  if after ~= '' and after ~= id then
    local all = without(ids_of(after), id)
    all[#all + 1] = id
    redis.call('HSET', KEY.names, after, table.concat(all, ' '))
  end
end

local function set_rate(id, rate, written)
  local values = gate_fields(id, 'rate', 'rate_at')
  local at = written == 'now' and now or math.min(num(written, 0), now)
  if rate_of(values[1]) and at <= num(values[2], 0) then return end
  redis.call('HSET', CELL .. 'gate:' .. id, 'rate', rate, 'rate_at', int(at))
  -- it may be due earlier now (R1)
  if redis.call('ZSCORE', CELL .. 'due', id) then wake(id, now) end
end

for _, new in entries() do
  local known = decoded(redis.call('HGET', KEY.numbers, new.id))
  rename(new.id, known and type(known.name) == 'string' and known.name, new.name)
  redis.call('HSET', KEY.numbers, new.id, cjson.encode({name = new.name, waba = new.waba}))
  set_rate(new.id, new.rate, new.written)
end
return ENTRIES
