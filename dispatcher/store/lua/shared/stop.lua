-- USES base
-- What stops say.

-- The action of a stop that binds now, and until when (0: until it is lifted); nil where there is none. A row that
-- cannot be read holds: somebody wanted a stop.
local function binding(row)
  if not row then return nil end
  local stop = decoded(row)
  if not stop then return 'hold', 0 end
  local till = num(stop['until'], 0)
  if till > 0 and till <= now then return nil end
  return stop.action == 'cancel' and 'cancel' or 'hold', till
end
