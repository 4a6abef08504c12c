-- Hands out entries of a stream to one process of a group: first such as another process took so long ago that it must be
-- gone, or has left them, then such as nobody has yet.
--
-- KEYS  1 stream
-- ARGV  1 group  2 process  3 most entries  4 how long ago it was taken (ms); below 0 leaves those alone
-- Returns {id, how often it was handed out, {field, value, ...}} an entry

redis.call('XDEL', KEYS[1], '0-0')
local found, most = {}, tonumber(ARGV[3])
local function hand_out(entries, is_again)
  for _, entry in ipairs(entries) do
    if entry and entry[2] then -- else it was deleted in the meantime
      local row = is_again and redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)[1]
      found[#found + 1] = {entry[1], row and row[4] or 1, entry[2]}
    end
  end
end

if tonumber(ARGV[4]) >= 0 then
  hand_out(redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], '0-0', 'COUNT', most)[2], true)
end
if #found < most then
  local new = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', most - #found, 'STREAMS', KEYS[1], '>')
  if new then hand_out(new[1][2], false) end
end
return found
