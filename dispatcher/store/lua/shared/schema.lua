-- USES base
-- Writes down the schema of the cell's data, where nobody has or an earlier release did; see store/schema.py.

local function keep_schema()
  local found = try('GET', CELL .. 'schema') or ''
  if #found > 9 or not find(found, '^%d+$') or found - SCHEMA < 0 then redis.call('SET', CELL .. 'schema', SCHEMA) end
end
