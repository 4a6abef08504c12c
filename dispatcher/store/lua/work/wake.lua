-- Makes numbers due now: what held them back has gone.
--
-- KEYS due
-- ENTRY number

redis.call('ZREM', KEY.due, '')
for _, each in entries() do wake(each.number, now) end
return ENTRIES
