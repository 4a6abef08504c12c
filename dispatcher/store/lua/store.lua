-- Stores the body of a webhook, whole or not at all: where it is worked off, and where it is passed on. A full server
-- refuses it, since the first write asks for memory; Meta then sends it again.
--
-- KEYS  1 the webhook door  2 webhooks, then the streams of webhooks to pass on
-- ARGV  1 body  2 signature header  3 content type  4 1 if the door has missed something since it last said so

redis.call('XADD', KEYS[2], '*', 'body', ARGV[1])
for at = 3, #KEYS do
  redis.call('XADD', KEYS[at], '*', 'body', ARGV[1], 'signature', ARGV[2], 'type', ARGV[3])
end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'gap', int(clock())) end
return 1
