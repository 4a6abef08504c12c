"""Fills lanes on the server, where a million messages one by one would take minutes.

It runs the product's own `enqueue.lua` whole, on arguments that the server makes itself from one message that the client
has prepared: only key, recipient and number differ. What lies there then is what `send_many` would have put there.
"""

import hashlib
from typing import Any

from dispatcher.message.message import Message, new_key
from dispatcher.store.pipeline import Line
from dispatcher.store.queue import Producing
from dispatcher.store.scripts import Script, script
from tests.bench.harness import NUMBER, message

_MESSAGES_A_CALL = 50  # as the client does
_CALLS_A_PIPELINE = 20
_PLACE = "0000001"
_RECIPIENT = f"+1555{_PLACE}"

# A local ARGV stands for the server's own in all that follows. Arguments: those of enqueue.lua for one message, then
# the first place, how many messages, how many numbers, the first number, and the recipient in the prepared body.
_MAKING = """
local given, made, size = ARGV, {ARGV[1], ARGV[2]}, 15
local first, count, numbers, number = given[18], given[19], given[20], given[21]
local before, after = given[15]:match('^(.-)' .. given[22]:gsub('%p', '%%%0') .. '(.*)$')
local stem = given[3]:sub(1, -9)
for place = first, first + count - 1 do
  local at = #made
  for i = 1, size do made[at + i] = given[2 + i] end
  local recipient = string.format('+1555%07d', place % 10000000)
  made[at + 1] = stem .. string.format('%08d', place)
  made[at + 2] = string.format('%.0f', number + place % numbers)
  made[at + 3] = recipient
  made[at + 13] = before .. recipient .. after
end
local ARGV = made
"""


class _Catcher(Line):
    """Keeps what is asked instead of asking it."""

    def __init__(self) -> None:
        self.asked: tuple[Any, Any] = ((), ())

    async def call(self, script: Script, keys: Any, args: Any) -> Any:
        self.asked = (keys, args)
        return [b"queued", b"queued"]


async def _prepared() -> tuple[list[str], list[Any]]:
    """What `enqueue.lua` is given for one message."""
    catcher = _Catcher()
    given = Message.parse({**message(new_key(), 1, "bulk"), "to": _RECIPIENT}, default_key=None)
    await Producing(catcher, Keys()).enqueue([given])
    keys, args = catcher.asked
    return list(keys), list(args)


async def fill(redis: Any, count: int, numbers: int = 1) -> None:
    """Queue `count` messages of the same content for so many numbers in turn, from NUMBER on."""
    keys, args = await _prepared()
    text = _MAKING + script("enqueue").text
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    await redis.script_load(text)
    firsts = range(0, count, _MESSAGES_A_CALL)
    for at in range(0, len(firsts), _CALLS_A_PIPELINE):
        async with redis.pipeline(transaction=False) as pipe:
            for first in firsts[at : at + _CALLS_A_PIPELINE]:
                those = (first, min(_MESSAGES_A_CALL, count - first), numbers, NUMBER, _RECIPIENT)
                pipe.evalsha(sha, len(keys), *keys, *args, *those)
            await pipe.execute()
