-- Who wants no more messages of a category, and who wants them again. What is older than what is known changes nothing.
--
-- KEYS  1 numbers
-- ARGV  1 prefix, then 7 a preference: number, WABA, category, recipient, 'stop' or 'start', when (s since 1970, by Meta's
--       clock), reason
-- Returns how many changed something

-- The WABA as the workers know it: their claims look it up by that name.
local function waba_of(number, given)
  local known = decoded(redis.call('HGET', KEYS[1], number))
  return known and type(known.waba) == 'string' and known.waba or given
end

redis.call('HDEL', KEYS[1], '')
local prefix, changed = ARGV[1], 0

local function prefer(list, again, recipient, wish, at, reason)
  local row, later = redis.call('HGET', list, recipient), num(redis.call('HGET', again, recipient), -1)
  local since = num(row and row:match('^%d+'), -1)
  if wish == 'stop' and at > later and at > since then
    redis.call('HSET', list, recipient, int(at) .. ' ' .. reason)
    redis.call('HDEL', again, recipient)
    changed = changed + 1
  elseif wish == 'start' and at >= since and at > later then
    redis.call('HDEL', list, recipient)
    redis.call('HSET', again, recipient, int(at))
    changed = changed + (row and 1 or 0)
  end
end

for at = 2, #ARGV, 7 do
  local number, category, recipient, when = ARGV[at], ARGV[at + 2], ARGV[at + 3], num(ARGV[at + 5], 0)
  local scope = waba_of(number, ARGV[at + 1]) .. ':' .. category
  local list, again = prefix .. 'suppressed:' .. scope, prefix .. 'wanted:' .. scope
  prefer(list, again, recipient, ARGV[at + 4], when, ARGV[at + 6])
  local same = redis.call('GET', prefix .. 'same:' .. recipient)
  if same then prefer(list, again, same, ARGV[at + 4], when, ARGV[at + 6]) end
end
return changed
