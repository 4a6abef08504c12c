"""Where webhooks wait to be worked off and passed on, and the record of a door that may have missed some."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.scripts import script
from dispatcher.store.work import US

UNSEEN_MOST_S = 5.0
"""Seconds without a beat after which nobody knows whether the door was there."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many entries wait in a stream, and how old the oldest is."""

    entries: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Beat:
    """What a beat found: whether a gap was marked, what waits to be worked off, and to be passed on."""

    marked: bool
    webhooks: Waiting
    forwards: tuple[Waiting, ...]


def forward_name(url: str) -> str:
    """Name a URL without saying it: it may hold secrets."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def forward_key(keys: Keys, url: str) -> str:
    """Name the stream of webhooks to pass on to a URL."""
    return keys(f"forward:{forward_name(url)}")


class Inbox:
    """One a process of the webhook door; calls raise `errors.QueueUnavailable`.

    `missed` remembers a gap until Redis knows of it; any number of them share one write.
    """

    def __init__(self, line: Line, keys: Keys, process: str, forwards: Sequence[str] = ()) -> None:
        self._line = line
        self._process = process
        self._doors = keys("doors")
        self._door = keys("door")
        self._webhooks = keys("webhooks")
        self._forwards = [forward_key(keys, url) for url in forwards]
        self._missed = 1  # the start: who knows what came before
        self._told = 0
        self.has_room_to_forward = True
        self.gap = asyncio.Event()
        self.gap.set()

    def missed(self) -> None:
        """Take note that the door may have missed something just now."""
        self._missed += 1
        self.gap.set()

    async def store(self, body: bytes, signature: str, content_type: str) -> bool:
        """Store a body for all who wait for it, or for none; false if there was no room to pass it on.

        One whose answer is lost may be stored twice.
        """
        missed, has_room = self._missed, self.has_room_to_forward
        keys = [self._door, self._webhooks, *(self._forwards if has_room else ())]
        args: list[Argument] = [body, signature, content_type, self._gap()]
        await self._line.call(script("store"), keys, args)
        self._tell(missed)
        return has_room

    async def beat(self, *, is_last: bool = False) -> Beat:
        """Say that the door is there, and which gaps are not known yet; ask what waits. The last one says goodbye."""
        missed = self._missed
        keys = [self._door, self._doors, self._webhooks, *self._forwards]
        args = (round(UNSEEN_MOST_S * US), self._gap(), self._process, "0" if is_last else "1")
        now, marked, *found = await self._line.call(script("beat"), keys, args)
        self._tell(missed)
        webhooks, *forwards = _waiting(int(now), found)
        return Beat(marked == 1, webhooks, tuple(forwards))

    def _gap(self) -> str:
        return "1" if self._missed > self._told else "0"

    def _tell(self, missed: int) -> None:
        """A script that began after so many gaps has run: what came while it was under way is still to be told."""
        self._told = max(self._told, missed)
        if self._missed == self._told:
            self.gap.clear()


class Forwards:
    """The list of URLs that webhooks are passed on to; calls raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, urls: Sequence[str]) -> None:
        self._line = line
        self._keys = keys
        self._names = [forward_name(url) for url in urls]

    async def disown(self, kept_s: float) -> int:
        """Say which are known here, and drop what waits for such as nobody has known for so long; how many."""
        args: list[Argument] = [self._keys.prefix, round(kept_s * US), *self._names]
        return int(await self._line.call(script("disown"), (self._keys("forwards"),), args))


def _waiting(now_us: int, found: Sequence[object]) -> list[Waiting]:
    pairs = zip(found[::2], found[1::2], strict=True)
    return [Waiting(int(str(count)), _age_s(now_us, first)) for count, first in pairs]


def _age_s(now_us: int, first: object) -> float:
    if not isinstance(first, bytes) or not first:
        return 0.0
    return max(0.0, now_us / US - int(first.partition(b"-")[0]) / 1000)
