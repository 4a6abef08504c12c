-- Stores the body of a webhook, whole or not at all: where it is worked off, and where it is passed on. A full server
-- refuses it, since the first write asks for memory; Meta then sends it again.
--
-- KEYS webhooks, then the streams of webhooks to pass on
-- ARGS body signature type gap (the header; the content type; 1 if the door has missed something since it last said so)

redis.call('XADD', KEY.webhooks, '*', 'body', ARG.body)
for at = 2, #KEYS do
  redis.call('XADD', KEYS[at], '*', 'body', ARG.body, 'signature', ARG.signature, 'type', ARG.type)
end
if ARG.gap == '1' then mark_gap(now) end
return 1
