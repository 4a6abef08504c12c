"""What a producer asks of Redis: enqueue, cancel and look, each one script and one typed method."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher import errors
from dispatcher.store.cache import Cache
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.record import Record, record
from dispatcher.store.scripts import script
from dispatcher.store.work import PROCESS_ALIVE_S, US
from dispatcher.store.terms import Terms
from dispatcher.message.message import Message, Priority, body, fingerprint, label, template_label

# A server that fills up refuses campaigns first and one-time passwords last: share of maxmemory.
FULL_FOR = {Priority.BULK: 0.75, Priority.NORMAL: 0.85}
_MEMORY_FRESH_S = 1.0
_BYTES = re.compile(rb"^(used_memory|maxmemory):(\d+)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of one message: `word` is `queued`, `duplicate` or `conflict`; `state` is that of the key."""

    word: str
    state: str


class Producing:
    """The scripts of a producer; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, terms: Terms | None = None) -> None:
        self._line = line
        self._keys = keys
        self._terms = (terms or Terms()).as_json()
        self._fullness = Cache(self._ask_fullness, lambda _: _MEMORY_FRESH_S, most=1)

    async def enqueue(self, messages: Sequence[Message]) -> list[Enqueued]:
        """Put messages with keys and number ids into their lanes, all of them or, in a full server, none.

        Raises:
            QueueFull: the server has no room; nothing was queued.
        """
        args: list[Argument] = [self._keys.prefix, self._terms]
        for message in messages:
            args.extend(_arguments(message))
        keys = (self._keys("due"), self._keys("expiry"))
        reply = [word.decode() for word in await self._line.call(script("enqueue"), keys, args)]
        return [Enqueued(word, state) for word, state in zip(reply[::2], reply[1::2], strict=True)]

    async def is_full_for(self, priority: Priority) -> bool:
        """Whether the server is too full for new messages of that lane, as of a second ago at most."""
        limit = FULL_FOR.get(priority)
        return limit is not None and await self._fullness.get("memory") > limit

    async def _ask_fullness(self, section: str) -> float:
        return _fullness(await self._line.command("INFO", section))

    async def cancel(self, key: str) -> tuple[str, str]:
        """Cancel a waiting message: `cancelled`, `marked`, `settled` or `unknown`, and the state it was in."""
        args = (self._keys.prefix, key, self._terms)
        word, state = await self._line.call(script("cancel"), (self._keys("sending"),), args)
        return word.decode(), state.decode()

    async def look(self, key: str) -> Record | None:
        """Say how a message stands; None where the key is not known (any more)."""
        keys = (self._keys("stops"), self._keys("numbers"), self._keys("processes"))
        reply = await self._line.call(script("look"), keys, (self._keys.prefix, key, PROCESS_ALIVE_S * US))
        return record(key, reply) if reply else None


def _arguments(message: Message) -> tuple[Argument, ...]:
    if message.key is None:
        raise ValueError("a message needs a key before it is queued")
    extra = {name: getattr(message, name) for name in ("callback_data", "trace") if getattr(message, name)}
    return (
        message.key,
        message.number,
        label(message.to),
        message.priority.lane,
        message.category,
        message.campaign or "",
        template_label(message.content) or "",
        fingerprint(message),
        round(message.not_before.timestamp() * US) if message.not_before else "",
        round(message.ttl_s * US) if message.ttl_s is not None else "",
        round(message.expires_at.timestamp() * US) if message.expires_at else "",
        message.on_uncertain,
        body(message),
        json.dumps(extra) if extra else "",
        message.replaces or "",
    )


def _fullness(info: object) -> float:
    if isinstance(info, dict):
        used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    else:
        found = dict(_BYTES.findall(info if isinstance(info, bytes) else str(info).encode()))
        used, most = int(found.get(b"used_memory", 0)), int(found.get(b"maxmemory", 0))
    return used / most if most else 0.0


def refusal(found: Enqueued, key: str) -> errors.Refused | None:
    """Turn a conflict into the error that the caller gets; None for what was queued or recognised."""
    if found.word != "conflict":
        return None
    return errors.KeyConflict("key", f"{key} is known with another recipient or other content ({found.state})", key)
