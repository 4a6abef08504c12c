"""Passes webhooks on to other programs as they came: each at least once, in no certain order."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx

from dispatcher import errors
from dispatcher.api.journal import ApiJournal
from dispatcher.api.webhook_worker import Loop
from dispatcher.meta.transport import Engine
from dispatcher.policy.backoff import full_jitter
from dispatcher.settings import Settings
from dispatcher.store import webhooks
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.webhooks import StoredWebhook

POST_DEADLINE_S: Final = 10.0
AT_ONCE_MAX: Final = 32
TAKE_OVER_AFTER_S: Final = 60.0
"""What a process holds for longer than this without a word is taken over, and what it left is tried again."""
_READ_MAX: Final = 8
_TAKE_OVER_EVERY_S: Final = 1.0
_UPKEEP_EVERY_S: Final = 10.0
_TRIES: Final = 4
_FORGET_EVERY_S: Final = 60.0
_FIRST_S: Final = 0.5
_CAP_S: Final = 60.0
_REFUSALS_MOST: Final = 5
"""One webhook that is refused says little of the URL; so many in a row do."""
_NOT_NOW: Final = frozenset({408, 429, 502, 503, 504})

Outcome = Literal["delivered", "refused", "away"]


class CircuitBreaker:
    """Who may ask a URL now: everybody while it works, and one at a time, ever more rarely, while it fails.

    It is the state of one URL, as one process sees it.
    """

    def __init__(self, rand: Callable[[], float] = random.random) -> None:
        self._rand = rand
        self._probe = asyncio.Lock()
        self._failures = 0
        self._refusals = 0
        self._opened_at = self._probe_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the URL has not taken anything since it failed last."""
        return self._failures > 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the URL may be asked; while it fails, nobody else may until the block ends."""
        if not self.is_open:
            yield
            return
        async with self._probe:  # lets those in who came first, so that one bad webhook is not tried alone for ever
            await asyncio.sleep(max(0.0, self._probe_at - time.monotonic()))
            yield

    def succeeded(self) -> None:
        """Close: the URL took a webhook."""
        self._failures = self._refusals = 0

    def refused(self, began: float) -> None:
        """Count a webhook that the URL answered and does not want; the try began then (`time.monotonic`)."""
        self._refusals += 1
        if self._refusals >= _REFUSALS_MOST:
            self.failed(began)

    def failed(self, began: float) -> None:
        """Open, or stay open for longer: no answer, or not now. Tries that began before it opened change nothing."""
        if began < self._opened_at:
            return
        self._opened_at = time.monotonic()
        backoff_s = full_jitter(self._failures, first_s=_FIRST_S, cap_s=_CAP_S, rand=self._rand())
        self._probe_at = self._opened_at + backoff_s
        self._failures += 1


class Target:
    """One URL, asked over an engine that follows no redirect and keeps a deadline of its own."""

    def __init__(self, url: str, engine: httpx.AsyncBaseTransport, journal: ApiJournal) -> None:
        self.url = url
        self.host = urlsplit(url).hostname or ""
        """All that is said of the URL: the rest may hold secrets."""
        self.journal = journal
        self.breaker = CircuitBreaker()
        self._engine = engine

    async def post(self, entry: StoredWebhook) -> Outcome:
        """Post a webhook, and learn from its outcome."""
        began = time.monotonic()
        outcome, reason = await self._ask(entry)
        was_open = self.breaker.is_open  # now: what was under way together says it once
        if outcome == "delivered":
            self.breaker.succeeded()
        elif outcome == "refused":
            self.breaker.refused(began)
        else:
            self.breaker.failed(began)
        self.journal.forwarded(self.host, outcome)
        if self.breaker.is_open and not was_open:
            self.journal.target_failing(self.host, reason)
        elif was_open and not self.breaker.is_open:
            self.journal.target_recovered(self.host)
        return outcome

    async def _ask(self, entry: StoredWebhook) -> tuple[Outcome, str]:
        request = httpx.Request(
            "POST",
            self.url,
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


class Forwarder(Loop):
    """Passes on what waits for one URL; several processes share the work.

    A webhook is tried for `kept_s` at most; what a process holds without a word for `take_over_after_s`, another takes.
    """

    def __init__(
        self, target: Target, pipeline: Pipeline, cell: Cell, process: str, kept_s: float, take_over_after_s: float
    ) -> None:
        super().__init__("forwarding", target.journal)
        self.target = target
        self.stream = webhooks.forward_key(cell, target.url)
        self._pipeline = pipeline
        self._cell = cell
        self._process = process
        self._kept_s = kept_s
        self._take_over_after_s = take_over_after_s
        self._looked_at = float("-inf")
        self._in_hand: dict[bytes, asyncio.Task[None]] = {}
        self._posting: set[bytes] = set()

    async def run(self) -> None:
        """Work until stopped; what is being posted then is posted, the rest is left to whoever comes."""
        upkeep = asyncio.create_task(self.repeat(self._keep_up))
        await self.repeat(self._work)
        in_hand = dict(self._in_hand)
        for id_, task in in_hand.items():
            if id_ not in self._posting:
                task.cancel()
        await asyncio.wait([upkeep, *in_hand.values()])
        if in_hand:
            with contextlib.suppress(errors.QueueUnavailable):  # it is taken over all the same, a minute later
                give_back = webhooks.give_back(self._cell, self.stream, self._process, list(in_hand))
                await self._pipeline.run(give_back)

    async def _work(self) -> None:
        await self._pipeline.run(webhooks.create_group(self._cell, self.stream))
        while not self.is_stopped:
            most = min(AT_ONCE_MAX - len(self._in_hand), _READ_MAX)
            entries: list[StoredWebhook] = []
            if most:
                read = webhooks.read(self._cell, self.stream, self._process, most, self._idle_s())
                entries = await self._pipeline.run(read)
            for entry in entries:
                if entry.id not in self._in_hand:
                    self._in_hand[entry.id] = asyncio.create_task(self._deliver(entry))
            if not entries:
                await self.wait()

    def _idle_s(self) -> float | None:
        """Look now and then also for what another process has left for so long."""
        if time.monotonic() - self._looked_at < min(_TAKE_OVER_EVERY_S, self._take_over_after_s):
            return None
        self._looked_at = time.monotonic()
        return self._take_over_after_s

    async def _deliver(self, entry: StoredWebhook) -> None:
        """Try a few times, and then leave it for later: others wait too."""
        try:
            for tries in range(_TRIES):
                async with self.target.breaker.turn():
                    self._posting.add(entry.id)
                    outcome = await self.target.post(entry)
                if outcome == "delivered":
                    await self._finish(entry)
                    return
                self._posting.discard(entry.id)
                if self.is_stopped:
                    return
                if outcome == "refused":
                    rand = random.random()  # noqa: S311 - no secret
                    await asyncio.sleep(full_jitter(tries, first_s=_FIRST_S, cap_s=_CAP_S, rand=rand))
        except Exception as exc:  # noqa: BLE001 - a task begins here; the entry is tried again
            self._journal.failed(self._name, exc)
        finally:
            self._posting.discard(entry.id)
            del self._in_hand[entry.id]
            self.wake()

    async def _finish(self, entry: StoredWebhook) -> None:
        """Take it out, however long Redis is away; else it would be passed on twice."""
        while True:
            try:
                await self._pipeline.run(webhooks.finish(self._cell, self.stream, [entry.id]))
            except errors.QueueUnavailable as exc:
                self._journal.redis_lost(exc)
                if self.is_stopped:
                    return
                await self.pause(1.0)
            else:
                return

    async def _keep_up(self) -> None:
        """Hold what is in hand, give up what is too old, and forget processes that are gone."""
        if self._in_hand:
            await self._pipeline.run(webhooks.hold(self._cell, self.stream, self._process, list(self._in_hand)))
        given_up = await self._pipeline.follow(webhooks.drop_old(self._cell, self.stream, self._kept_s))
        self._journal.forwarded(self.target.host, "given_up", given_up)
        await self._pipeline.run(webhooks.drop_consumers(self._cell, self.stream))
        # a post that is under way at a stop ends long before anybody takes it over
        await self.pause(min(_UPKEEP_EVERY_S, self._take_over_after_s / 4))


class Forwarding(Loop):
    """Everything that is passed on; URLs that nobody knows any more are forgotten with what waits for them."""

    def __init__(
        self,
        pipeline: Pipeline,
        cell: Cell,
        process: str,
        settings: Settings,
        journal: ApiJournal,
        take_over_after_s: float = TAKE_OVER_AFTER_S,
    ) -> None:
        super().__init__("forwarding", journal)
        self._pipeline = pipeline
        self._cell = cell
        self._kept_s = settings.webhook_forward_kept_s
        self._engine = Engine()
        targets = [Target(url.get_secret_value(), self._engine, journal) for url in settings.webhook_forward_urls]
        self.forwarders = [
            Forwarder(target, pipeline, cell, process, self._kept_s, take_over_after_s) for target in targets
        ]
        self.hosts = [target.host for target in targets]
        """Of each URL, in the order of `streams`; several may have the same."""
        self.streams = [forwarder.stream for forwarder in self.forwarders]

    def wake(self) -> None:
        """Say that something was stored."""
        for forwarder in self.forwarders:
            forwarder.wake()

    def stop(self) -> None:
        """End after what is being posted now."""
        super().stop()
        for forwarder in self.forwarders:
            forwarder.stop()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            for forwarder in self.forwarders:
                group.create_task(forwarder.run())
            group.create_task(self.repeat(self._forget_others))

    async def aclose(self) -> None:
        """Close all connections to URLs."""
        await self._engine.aclose()

    async def _forget_others(self) -> None:
        urls = [forwarder.target.url for forwarder in self.forwarders]
        await self._pipeline.run(webhooks.forget_forwards(self._cell, urls, self._kept_s))
        await self.pause(_FORGET_EVERY_S)
