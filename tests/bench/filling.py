"""Fills lanes on the server, where a million messages one by one would take minutes.

It runs the product's own `enqueue.lua` whole, on arguments that the server makes itself from one message that the client
has prepared: only key, recipient and number differ. What lies there then is what `send_many` would have put there.
"""

import hashlib
from typing import Any

from dispatcher.message.message import Message, new_key
from dispatcher.store import queue
from dispatcher.store.scripts import Script
from tests.bench.harness import CELL, NUMBER, message

_MESSAGES_A_CALL = 50  # as the client does
_CALLS_A_PIPELINE = 20
_PLACE = "0000001"
_RECIPIENT = f"+1555{_PLACE}"

# A local ARGV stands for the server's own in all that follows. Arguments: the entry of enqueue.lua for one message, then
# the first place, how many messages, how many numbers, the first number, and the recipient in the prepared body.
_MAKING = """
local at_of, size = {%s}, %d
local given, made = ARGV, {}
local first, count, numbers, number = given[size + 1], given[size + 2], given[size + 3], given[size + 4]
local before, after = given[at_of.body]:match('^(.-)' .. given[size + 5]:gsub('%%p', '%%%%%%0') .. '(.*)$')
local stem = given[at_of.key]:sub(1, -9)
for place = first, first + count - 1 do
  local at = #made
  for i = 1, size do made[at + i] = given[i] end
  local recipient = string.format('+1555%%07d', place %% 10000000)
  made[at + at_of.key] = stem .. string.format('%%08d', place)
  made[at + at_of.number] = string.format('%%.0f', number + place %% numbers)
  made[at + at_of.recipient] = recipient
  made[at + at_of.body] = before .. recipient .. after
end
local ARGV = made
"""


def _prepared() -> tuple[Script, list[Any], list[Any]]:
    """The script, its keys and what it is given for one message."""
    given = Message.parse({**message(new_key(), 1, "bulk"), "to": _RECIPIENT}, default_key=None)
    command = queue.enqueue(CELL, [given])
    _, _, count, *words = command.words
    if command.script is None or command.script.args:
        raise RuntimeError("enqueue.lua is not called as it was")
    return command.script, words[: int(count)], words[int(count) :]


async def fill(redis: Any, count: int, numbers: int = 1) -> None:
    """Queue `count` messages of the same content for so many numbers in turn, from NUMBER on."""
    script, keys, args = _prepared()
    places = ", ".join(f"{name} = {at}" for at, name in enumerate(script.entry, 1))
    text = _MAKING % (places, len(script.entry)) + script.text
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    await redis.script_load(text)
    firsts = range(0, count, _MESSAGES_A_CALL)
    for at in range(0, len(firsts), _CALLS_A_PIPELINE):
        async with redis.pipeline(transaction=False) as pipe:
            for first in firsts[at : at + _CALLS_A_PIPELINE]:
                those = (first, min(_MESSAGES_A_CALL, count - first), numbers, NUMBER, _RECIPIENT)
                pipe.evalsha(sha, len(keys), *keys, *args, *those)
            await pipe.execute()
