-- Makes a process the owner of numbers whose time has come, for the length of a lease.
--
-- KEYS due serves
-- ARGS owner most passed_by (numbers to examine at most; due ones to pass by)
-- Returns how many were examined, and the numbers taken
--
-- A number that is blocked because of the very token that this process would use is left to others: a process that has
-- the new token already is not bound by the block.

redis.call('ZREM', KEY.due, '') -- a first write that frees: the script runs in a full server

local function may_serve(number)
  local credential = redis.call('HGET', KEY.serves, number)
  if not credential then return false end
  local values = gate_fields(number, 'why', 'credential', 'until', 'streak')
  local barred = values[1] == 'credential' and values[2] == credential and num(values[4], 0) > 0
  return not barred or num(values[3], 0) <= now
end

local ready = redis.call('ZRANGEBYSCORE', KEY.due, '-inf', int(now), 'LIMIT', ARG.passed_by, ARG.most)
local taken = {}
for _, number in ipairs(ready) do
  if may_serve(number) then
    redis.call('HSET', CELL .. 'gate:' .. number, 'owner', ARG.owner)
    redis.call('ZADD', KEY.due, int(now + NUMBER_LEASE), number)
    taken[#taken + 1] = number
  end
end
return {#ready, taken}
