"""Passes webhooks on to other programs as they came: each at least once, in no certain order."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx

from dispatcher import errors
from dispatcher.api.bell import Sleeper
from dispatcher.api.journal import Journal
from dispatcher.api.turns import CAP_S, FIRST_S, Turns
from dispatcher.policy.backoff import full_jitter
from dispatcher.store import webhooks
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.webhooks import Entry

POST_DEADLINE_S: Final = 10.0
AT_ONCE_MAX: Final = 32
LEFT_S: Final = 60.0
"""What a process holds for longer than this without a word is taken over, and what it left is tried again."""
_DRAW_MAX: Final = 8
_LOOK_FOR_LEFT_S: Final = 1.0
_HOUSEKEEPING_S: Final = 10.0
_TRIES: Final = 4
_FORGET_EVERY_S: Final = 60.0
_NOT_NOW: Final = frozenset({408, 429, 502, 503, 504})

Outcome = Literal["delivered", "refused", "away"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a webhook is tried at all, and after how long without a word somebody else has it."""

    kept_s: float
    left_s: float = LEFT_S


@dataclass(frozen=True, slots=True)
class Share:
    """What the processes of a cell share of one URL: the stream of webhooks for it, and who of them this is."""

    pipeline: Pipeline
    cell: Cell
    url: str
    process: str

    @property
    def stream(self) -> str:
        """The stream's key."""
        return webhooks.forward_key(self.cell, self.url)


class Target:
    """One URL, asked over an engine that follows no redirect and keeps a deadline of its own."""

    def __init__(self, url: str, engine: httpx.AsyncBaseTransport, journal: Journal) -> None:
        self._url = httpx.URL(url)
        self._engine = engine
        self._journal = journal
        self._host = host_of(url)
        self.turns = Turns()

    async def post(self, entry: Entry) -> Outcome:
        """Post a webhook, in turn; it says what it learnt of the URL."""
        began = time.monotonic()
        outcome, reason = await self._ask(entry)
        was_ailing = self.turns.is_ailing  # now: what was under way together tells it once
        if outcome == "delivered":
            self.turns.took()
        elif outcome == "refused":
            self.turns.refused(began)
        else:
            self.turns.failed(began)
        self._journal.forwarded(self._host, outcome)
        if self.turns.is_ailing and not was_ailing:
            self._journal.ailing(self._host, reason)
        elif was_ailing and not self.turns.is_ailing:
            self._journal.well(self._host)
        return outcome

    def gave_up(self, count: int) -> None:
        """So many webhooks were too old to be tried again."""
        self._journal.forwarded(self._host, "given_up", count)

    async def _ask(self, entry: Entry) -> tuple[Outcome, str]:
        request = httpx.Request(
            "POST",
            self._url,
            headers=[
                (b"Content-Type", entry.fields.get(b"type") or b"application/json"),
                (b"X-Hub-Signature-256", entry.fields.get(b"signature", b"")),
            ],
            content=entry.fields.get(b"body", b""),
            extensions={"timeout": {"read": POST_DEADLINE_S}},
        )
        try:
            status = (await self._engine.handle_async_request(request)).status_code
        except (httpx.HTTPError, OSError) as exc:
            return "away", type(exc).__name__
        if 200 <= status < 300:
            return "delivered", ""
        return "away" if status in _NOT_NOW else "refused", f"http_{status}"


class Forward:
    """Passes on what waits for one URL; several processes share the work."""

    def __init__(self, share: Share, target: Target, journal: Journal, pace: Pace) -> None:
        self._run = share.pipeline.run
        self._follow = share.pipeline.follow
        self._cell = share.cell
        self._stream = share.stream
        self._process = share.process
        self._target = target
        self._journal = journal
        self._pace = pace
        self._looked_at = float("-inf")
        self._in_hand: dict[bytes, asyncio.Task[None]] = {}
        self._posting: set[bytes] = set()
        self.sleeper = Sleeper()

    async def run(self) -> None:
        """Work until stopped; what is being posted then is posted, the rest is left to whoever comes."""
        house = asyncio.create_task(self._keep_house())
        while not self.sleeper.is_stopped:
            try:
                await self._run(webhooks.create_group(self._cell, self._stream))
                while not self.sleeper.is_stopped:
                    await self._feed()
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
                await self.sleeper.pause()
            except Exception as exc:  # noqa: BLE001 - a task begins here; nothing that is stored is lost
                self._journal.failed("forward", exc)
                await self.sleeper.pause(1.0)
        await self._end(house)

    async def _feed(self) -> None:
        free = AT_ONCE_MAX - len(self._in_hand)
        entries: list[Entry] = []
        if free:
            most = min(free, _DRAW_MAX)
            entries = await self._run(webhooks.read(self._cell, self._stream, self._process, most, self._left()))
        for entry in entries:
            if entry.id not in self._in_hand:
                self._in_hand[entry.id] = asyncio.create_task(self._deliver(entry))
        if not entries:
            await self.sleeper.rest()

    def _left(self) -> float | None:
        """Look now and then for what was left."""
        if time.monotonic() - self._looked_at < min(_LOOK_FOR_LEFT_S, self._pace.left_s):
            return None
        self._looked_at = time.monotonic()
        return self._pace.left_s

    async def _deliver(self, entry: Entry) -> None:
        """Try a few times, and then leave it for later: others wait too."""
        try:
            for tries in range(_TRIES):
                async with self._target.turns.one():
                    self._posting.add(entry.id)
                    outcome = await self._target.post(entry)
                if outcome == "delivered":
                    await self._finish(entry)
                    return
                self._posting.discard(entry.id)
                if self.sleeper.is_stopped:
                    return
                if outcome == "refused":
                    rand = random.random()  # noqa: S311 - no secret
                    await asyncio.sleep(full_jitter(tries, first_s=FIRST_S, cap_s=CAP_S, rand=rand))
        except Exception as exc:  # noqa: BLE001 - a task begins here; the entry is tried again
            self._journal.failed("forward", exc)
        finally:
            self._posting.discard(entry.id)
            del self._in_hand[entry.id]
            self.sleeper.wake()

    async def _finish(self, entry: Entry) -> None:
        """Take it out, however long Redis is away; else it would be passed on twice."""
        while True:
            try:
                await self._run(webhooks.finish(self._cell, self._stream, [entry.id]))
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
                if self.sleeper.is_stopped:
                    return
                await self.sleeper.pause(1.0)
            else:
                return

    async def _keep_house(self) -> None:
        """Hold what is in hand, give up what is too old, and forget processes that are gone."""
        while True:
            try:
                if self._in_hand:
                    await self._run(webhooks.hold(self._cell, self._stream, self._process, list(self._in_hand)))
                self._target.gave_up(await self._follow(webhooks.drop_old(self._cell, self._stream, self._pace.kept_s)))
                await self._run(webhooks.drop_consumers(self._cell, self._stream))
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
            except Exception as exc:  # noqa: BLE001 - a task begins here
                self._journal.failed("forward", exc)
            await asyncio.sleep(min(_HOUSEKEEPING_S, self._pace.left_s / 4))

    async def _end(self, house: "asyncio.Task[None]") -> None:
        in_hand = dict(self._in_hand)
        for id_, task in in_hand.items():
            if id_ not in self._posting:
                task.cancel()
        house.cancel()
        await asyncio.wait([house, *in_hand.values()])
        if in_hand:
            with contextlib.suppress(errors.QueueUnavailable):  # it is taken over all the same, a minute later
                await self._run(webhooks.give_back(self._cell, self._stream, self._process, list(in_hand)))


class Forwarding:
    """Everything that is passed on; URLs that nobody knows any more are forgotten with what waits for them."""

    def __init__(self, forwards: Sequence[Forward], forget: Callable[[], Awaitable[int]], journal: Journal) -> None:
        self._forwards = forwards
        self._forget = forget
        self._journal = journal
        self._sleeper = Sleeper()

    def wake(self) -> None:
        """Something was stored."""
        for forward in self._forwards:
            forward.sleeper.wake()

    def stop(self) -> None:
        """Begin to end."""
        self._sleeper.stop()
        for forward in self._forwards:
            forward.sleeper.stop()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            for forward in self._forwards:
                group.create_task(forward.run())
            group.create_task(self._forget_others())

    async def _forget_others(self) -> None:
        while not self._sleeper.is_stopped:
            try:
                await self._forget()
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
            except Exception as exc:  # noqa: BLE001 - a task begins here
                self._journal.failed("forward", exc)
            await self._sleeper.pause(_FORGET_EVERY_S)


def host_of(url: str) -> str:
    """Return the host of a URL, which is all that is said of it: the rest may hold secrets."""
    return urlsplit(url).hostname or ""
