-- USES base
-- Writes down the schema of the cell's data, where nobody has or an earlier release did; see store/schema.py.

local function keep_schema()
  local found = tonumber((try('GET', CELL .. 'schema') or ''):match('^%d+$'))
  if not found or found < SCHEMA then redis.call('SET', CELL .. 'schema', SCHEMA) end
end
