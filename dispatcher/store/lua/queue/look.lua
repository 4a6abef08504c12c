-- Everything that says how one message stands: its record and, while it waits, what it waits for.
--
-- USES message
-- KEYS stops numbers processes uncertain
-- ARGS key alive_us (how long a process counts as alive after its last word)
-- Returns JSON: {now, record, decides (when it is looked at again, if it is uncertain), waiting: {place, till, stopped,
-- served}}, or nothing where the key is unknown

local key = ARG.key
local message = read(key)
if not message then return false end
local found = {now = int(now), record = {}}
for name, value in pairs(message) do
  if value then found.record[name] = tostring(value) end
end
if message.state == 'uncertain' then found.decides = try('ZSCORE', KEY.uncertain, key) or nil end
if message.broken or message.state ~= 'queued' then return cjson.encode(found) end

local number = message.number
local entry = redis.call('HGET', KEY.numbers, number)
local row = decoded(entry)
local waba = row and type(row.waba) == 'string' and row.waba or ''
local scopes = {'all', 'number:' .. number, 'waba:' .. waba,
  'lane:' .. number .. ':' .. LANE_NAMES[message.priority + 1]}
local gate = gate_fields(number, 'until', 'probe', 'streak', 'token')
if gate[4] then scopes[#scopes + 1] = 'credential:' .. gate[4] end -- of the last who asked for messages
if message.template then scopes[#scopes + 1] = 'template:' .. waba .. ':' .. message.template end
if message.campaign then scopes[#scopes + 1] = 'campaign:' .. message.campaign end
local stopped = message.parked and scope_of(message) or ''
for _, scope in ipairs(scopes) do
  if stopped == '' and binding(redis.call('HGET', KEY.stops, scope)) then stopped = scope end
end

local served = false
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEY.processes, int(now - ARG.alive_us), '+inf')) do
  served = served or redis.call('HEXISTS', CELL .. 'serves:' .. process, number) == 1
end

local till = num(gate[3], 0) > 0 and math.max(num(gate[1], 0), num(gate[2], 0)) or 0
found.waiting = {
  place = redis.call('ZSCORE', lane_of(message), key) or message.due,
  till = int(till), stopped = stopped, served = served}
return cjson.encode(found)
