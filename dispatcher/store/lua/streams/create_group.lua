-- Lets the processes of a group share a stream: makes the group if it is not there. Also in a full server, and again
-- after a restart that forgot it. What the stream holds already is for the group too.
--
-- KEYS stream
-- ARGS group

redis.call('XDEL', KEY.stream, '0-0')
local made = redis.pcall('XGROUP', 'CREATE', KEY.stream, ARG.group, '0', 'MKSTREAM')
if made.err and not made.err:find('BUSYGROUP', 1, true) then return made end
return 1
