-- USES base
-- Counts of what happened in the cell, for metrics: gathered in a call, and written when its script has ended.

local counts = {}

local function count(name, ...)
  local field = table.concat({name, ...}, '|')
  counts[field] = (counts[field] or 0) + 1
end

local function write_counts()
  for field, by in pairs(counts) do try('HINCRBY', CELL .. 'counts', field, by) end
end
