-- Takes entries that are done with out of a stream, and hands out others to one process of a group: first such as another
-- process took so long ago that it must be gone, or has left them, then such as nobody has yet.
--
-- KEYS stream
-- ARGS group process most idle_ms (how long ago it was taken; below 0 leaves those alone)
-- ENTRY id (one that is done with)
-- Returns {id, how often it was handed out, {field, value, ...}} an entry

redis.call('XDEL', KEY.stream, '0-0')
for _, each in entries() do finish(KEY.stream, ARG.group, each.id) end
local found, most = {}, tonumber(ARG.most)
local function hand_out(given, is_again)
  for _, each in ipairs(given) do
    if each and each[2] then -- else it was deleted in the meantime
      local pending = is_again and redis.call('XPENDING', KEY.stream, ARG.group, each[1], each[1], 1)[1]
      found[#found + 1] = {each[1], pending and pending[4] or 1, each[2]}
    end
  end
end

if tonumber(ARG.idle_ms) >= 0 then
  hand_out(redis.call('XAUTOCLAIM', KEY.stream, ARG.group, ARG.process, ARG.idle_ms, '0-0', 'COUNT', most)[2], true)
end
if #found < most then
  local new = redis.call('XREADGROUP', 'GROUP', ARG.group, ARG.process, 'COUNT', most - #found, 'STREAMS', KEY.stream, '>')
  if new then hand_out(new[1][2], false) end
end
return found
