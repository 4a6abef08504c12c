-- News of templates, qualities and accounts: on to their stream, each once.
--
-- KEYS  1 updates
-- ARGV  1 prefix  2 how long the stream is kept (ms), then 4 a notice: field, WABA, when (s since 1970), raw (JSON)
-- Returns how many are new

redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', 100000)
local prefix, kept, now, fresh = ARGV[1], tonumber(ARGV[2]), clock(), 0
for at = 3, #ARGV, 4 do
  local id = redis.sha1hex(table.concat({ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}, '\t'))
  if redis.call('SET', prefix .. 'heard:' .. id, '', 'NX', 'PX', kept) then
    redis.call('XADD', KEYS[1], 'MINID', '~', int(math.max(0, now / 1000 - kept)), '*', 'v', '1', 'type', ARGV[at],
      'at', int(now / 1000), 'waba', ARGV[at + 1], 'raw', ARGV[at + 3])
    fresh = fresh + 1
  end
end
return fresh
