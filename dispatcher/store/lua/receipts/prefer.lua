-- Who wants no more messages of a category, and who wants them again. What is older than what is known changes nothing.
--
-- KEYS numbers
-- ENTRY number waba category recipient wish at_s reason
--       'stop' or 'start'; when, s since 1970 by Meta's clock
-- Returns how many changed something

-- The WABA as the workers know it: their claims look it up by that name.
local function waba_of(number, given)
  local known = decoded(redis.call('HGET', KEY.numbers, number))
  return known and type(known.waba) == 'string' and known.waba or given
end

redis.call('HDEL', KEY.numbers, '')
local changed = 0

local function prefer(each, recipient)
  local scope = waba_of(each.number, each.waba) .. ':' .. each.category
  local list, again, at = CELL .. 'suppressed:' .. scope, CELL .. 'wanted:' .. scope, num(each.at_s, 0)
  local known, later = redis.call('HGET', list, recipient), num(redis.call('HGET', again, recipient), -1)
  local since = num(known and known:match('^%d+'), -1)
  if each.wish == 'stop' and at > later and at > since then
    redis.call('HSET', list, recipient, int(at) .. ' ' .. each.reason)
    redis.call('HDEL', again, recipient)
    changed = changed + 1
  elseif each.wish == 'start' and at >= since and at > later then
    redis.call('HDEL', list, recipient)
    redis.call('HSET', again, recipient, int(at))
    changed = changed + (known and 1 or 0)
  end
end

for _, each in entries() do
  prefer(each, each.recipient)
  local same = redis.call('GET', CELL .. 'same:' .. each.recipient)
  if same then prefer(each, same) end
end
return changed
