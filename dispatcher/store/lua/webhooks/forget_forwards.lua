-- Keeps the list of URLs that webhooks are passed on to, and drops what waits for one that no process has known for long.
--
-- KEYS forwards
-- ARGS kept_us
-- ENTRY name (of a URL that this process knows)
-- Returns how many were dropped

redis.call('HDEL', KEY.forwards, '')
local dropped = 0
for _, each in entries() do redis.call('HSET', KEY.forwards, each.name, int(now)) end
local known = redis.call('HGETALL', KEY.forwards)
for at = 1, #known, 2 do
  if now - num(known[at + 1], 0) > tonumber(ARG.kept_us) then
    redis.call('UNLINK', CELL .. 'forward:' .. known[at])
    redis.call('HDEL', KEY.forwards, known[at])
    dropped = dropped + 1
  end
end
return dropped
