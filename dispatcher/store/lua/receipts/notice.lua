-- News of templates, qualities and accounts: on to their stream, each once.
--
-- KEYS updates
-- ENTRY field waba at_s raw (when, s since 1970; JSON)
-- Returns how many are new

redis.call('XTRIM', KEY.updates, 'MAXLEN', '~', 100000)
local fresh = 0
for _, each in entries() do
  local id = redis.sha1hex(table.concat({each.field, each.waba, each.at_s, each.raw}, '\t'))
  if redis.call('SET', CELL .. 'heard:' .. id, '', 'NX', 'PX', HEARD_KEPT) then
    redis.call('XADD', KEY.updates, 'MINID', '~', int(math.max(0, now / 1000 - HEARD_KEPT)), '*', 'v', '1',
      'type', each.field, 'at', int(now / 1000), 'waba', each.waba, 'raw', each.raw)
    fresh = fresh + 1
  end
end
return fresh
