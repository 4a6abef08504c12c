-- Forgets campaigns that nothing has happened in for long, and the longest silent ones where there are too many; a step
-- at a time.
--
-- KEYS campaigns
-- ARGS kept_us campaigns_most most (how many may be kept, and forgotten a call)
-- Returns how many were forgotten

redis.call('ZREM', KEY.campaigns, '')
local names = redis.call('ZRANGEBYSCORE', KEY.campaigns, '-inf', int(now - ARG.kept_us), 'LIMIT', 0, ARG.most)
if #names == 0 then
  local surplus = math.min(redis.call('ZCARD', KEY.campaigns) - ARG.campaigns_most, ARG.most)
  if surplus > 0 then names = redis.call('ZRANGE', KEY.campaigns, 0, surplus - 1) end
end
for _, name in ipairs(names) do redis.call('DEL', CELL .. 'campaign:' .. name) end
if #names > 0 then redis.call('ZREM', KEY.campaigns, unpack(names)) end
return #names
