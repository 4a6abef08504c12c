"""The webhook endpoint: lets in what Meta signed, and answers once it is stored. Nothing is parsed before that.

It remembers what it has missed until Redis knows of it, and says twice a second that it is there: no receipt proves
nothing about a time in which one may have been missed.
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from dispatcher import errors
from dispatcher.api.forwarding import Forwarding
from dispatcher.api.journal import ApiJournal
from dispatcher.api.webhook_worker import Loop, WebhookWorker
from dispatcher.message.priority import Priority
from dispatcher.meta.webhook import is_signed
from dispatcher.store import webhooks
from dispatcher.store.health import fullness
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.queue import FULL_FOR
from dispatcher.store.schema import Cell
from dispatcher.store.webhooks import Beat

BODY_BYTES_MAX: Final = 3 * 1024 * 1024
"""What Meta sends at most; more is read to its end up to twice that, so that the sender hears the answer."""
BODY_TIMEOUT_S: Final = 10.0
IN_HAND_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of all bodies together that are not answered: anybody can send bodies, only their ends show who signed them."""
BEAT_S: Final = 0.5
"""So that a beat may be late by more than a second before the door counts as silent."""
BEAT_SPACING_S: Final = 0.05
"""Between two beats, however much is missed: bad requests share a write."""
WELL_S: Final = 5.0
_CHALLENGE_CHARACTERS_MAX: Final = 1000

_STATUSES: Final = {
    "stored": 200,
    "unsigned": 401,
    "slow": 408,
    "too_large": 413,
    "failed": 500,
    "unavailable": 503,
    "crowded": 503,
}


class TurnedAwayError(Exception):
    """A request that is not taken; its one argument is the outcome."""


class BodyReader:
    """Reads bodies within limits of size, time and memory of the whole process.

    What is declared of a length does not matter, what comes does.
    """

    def __init__(self, timeout_s: float = BODY_TIMEOUT_S, in_hand_bytes_max: int = IN_HAND_BYTES_MAX) -> None:
        self._timeout_s = timeout_s
        self._in_hand_bytes_max = in_hand_bytes_max
        self._in_hand_bytes = 0

    @asynccontextmanager
    async def read(self, receive: Receive) -> AsyncIterator[bytes]:
        """Read a body, which counts as in hand while the block runs.

        Raises:
            TurnedAwayError: `too_large`, `slow`, `crowded`, or `gone` where the sender is.
        """
        parts: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._collect(receive, parts)
            except TimeoutError:
                raise TurnedAwayError("slow") from None
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._in_hand_bytes -= sum(map(len, parts))

    async def _collect(self, receive: Receive, parts: list[bytes]) -> None:
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise TurnedAwayError("gone")
            part = message.get("body", b"")
            size += len(part)
            if size <= BODY_BYTES_MAX:
                parts.append(part)
                self._in_hand_bytes += len(part)
            if self._in_hand_bytes > self._in_hand_bytes_max:
                raise TurnedAwayError("crowded")
            if size > 2 * BODY_BYTES_MAX:
                raise TurnedAwayError("too_large")
            if not message.get("more_body", False):
                break
        if size > BODY_BYTES_MAX:
            raise TurnedAwayError("too_large")


class Inbox(Loop):
    """Stores bodies for all who wait for them; its heartbeat says twice a second that the endpoint is there.

    One a process. What it may have missed is told at once, and remembered until Redis knows of it; any number of gaps
    share one write.
    """

    def __init__(
        self, pipeline: Pipeline, cell: Cell, process: str, forwarding: Forwarding, journal: ApiJournal
    ) -> None:
        super().__init__("heartbeat", journal)
        self._pipeline = pipeline
        self._cell = cell
        self._process = process
        self._forwarding = forwarding
        self._missed = 1  # the start: who knows what came before
        self._recorded = 0
        self._has_room_to_forward = True
        self._beaten_at = float("-inf")

    @property
    def has_gap(self) -> bool:
        """Whether something may have been missed that Redis does not know of."""
        return self._missed > self._recorded

    @property
    def is_well(self) -> bool:
        """Whether Redis answered lately."""
        return time.monotonic() - self._beaten_at < WELL_S

    def missed(self) -> None:
        """Take note that something may have been missed just now."""
        self._missed += 1
        self.wake()

    async def store(self, body: bytes, signature: str, content_type: str) -> None:
        """Store a body for all who wait for it, or for none; where Redis is nearly full it is not passed on.

        One whose answer is lost may be stored twice.

        Raises:
            QueueUnavailable: It is not stored, or may not be.
        """
        missed, forwarding = self._missed, self._forwarding
        forwards = forwarding.streams if self._has_room_to_forward else ()
        command = webhooks.store(self._cell, body, signature, content_type, gap=self.has_gap, forwards=forwards)
        await self._pipeline.run(command)
        self._recorded = max(self._recorded, missed)
        if forwards:
            forwarding.wake()
        for host in forwarding.hosts if not forwards else ():
            self._journal.forwarded(host, "no_room")

    async def run(self) -> None:
        """Beat until stopped; what was missed is told before the end, if Redis is there."""
        await self.repeat(self._beat_and_wait)
        await self.attempt(lambda: self._beat(is_last=True))

    async def beat(self, *, is_last: bool = False) -> Beat:
        """Say that the endpoint is there, and what Redis does not know yet was missed; the last one says goodbye.

        Raises:
            QueueUnavailable: It may not have been heard.
        """
        missed, forwards = self._missed, self._forwarding.streams
        command = webhooks.beat(self._cell, self._process, gap=self.has_gap, forwards=forwards, is_last=is_last)
        beat = await self._pipeline.run(command)
        self._recorded = max(self._recorded, missed)  # what was missed meanwhile is still to be told
        return beat

    async def _beat_and_wait(self) -> None:
        await self._beat()
        await self.pause(BEAT_SPACING_S)
        await self.wait(BEAT_S)

    async def _beat(self, *, is_last: bool = False) -> None:
        beat = await self.beat(is_last=is_last)
        self._beaten_at = time.monotonic()
        self._journal.redis_regained()
        if beat.marked:
            self._journal.gap_recorded()
        self._journal.waiting(beat.webhooks, list(zip(self._forwarding.hosts, beat.forwards, strict=True)))
        if beat.forwards:
            # What is passed on may wait for a day; it must not take the room of messages.
            self._has_room_to_forward = await self._pipeline.run(fullness()) <= FULL_FOR[Priority.BULK]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may come in: the app's secrets, and what Meta says when the webhook is set up (None: nobody may)."""

    secrets: Sequence[bytes]
    verify_token: bytes | None


class WebhookEndpoint:
    """An ASGI endpoint. Whatever POST it does not answer with 200 is remembered as missed."""

    def __init__(
        self, inbox: Inbox, worker: WebhookWorker, credentials: Credentials, journal: ApiJournal, bodies: BodyReader
    ) -> None:
        self._inbox = inbox
        self._worker = worker
        self._credentials = credentials
        self._journal = journal
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] == "POST":
            await self._post(scope, receive, send)
        elif scope["method"] == "GET":
            await self._verify(QueryParams(scope["query_string"]))(scope, receive, send)
        else:
            await Response(status_code=405, headers={"allow": "GET, POST"})(scope, receive, send)

    def _verify(self, query: QueryParams) -> Response:
        """Answer Meta's question whether this is the webhook of the app's owner."""
        token, challenge = query.get("hub.verify_token", ""), query.get("hub.challenge", "")
        known = self._credentials.verify_token
        is_known = known is not None and hmac.compare_digest(token.encode(errors="replace"), known)
        is_sound = query.get("hub.mode") == "subscribe" and len(challenge) <= _CHALLENGE_CHARACTERS_MAX
        if not (is_known and is_sound):
            return PlainTextResponse("wrong verify token\n", 403)
        return PlainTextResponse(challenge, headers={"x-content-type-options": "nosniff"})

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        outcome = "gone"
        try:
            outcome = await self._outcome(scope, receive)
        finally:
            if outcome != "stored":
                self._inbox.missed()
            self._journal.answered(outcome, time.perf_counter() - began)
        if outcome == "gone":
            return
        # what is left of a body that was not read is not to be taken for the next request
        headers = {"connection": "close"} if outcome in {"slow", "too_large", "crowded"} else None
        await Response(status_code=_STATUSES[outcome], headers=headers)(scope, receive, send)

    async def _outcome(self, scope: Scope, receive: Receive) -> str:
        try:
            await self._take(scope, receive)
        except TurnedAwayError as exc:
            return str(exc)
        except errors.QueueUnavailable:
            return "unavailable"
        except Exception as exc:  # noqa: BLE001 - the border to the server: it would answer, but mark no gap
            self._journal.failed("webhook_endpoint", exc)
            return "failed"
        return "stored"

    async def _take(self, scope: Scope, receive: Receive) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        signatures = [value for name, value in headers if name == b"x-hub-signature-256"]
        signature = signatures[0].decode("latin-1") if len(signatures) == 1 else ""
        content_type = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
        async with self._bodies.read(receive) as body:
            if not is_signed(body, signature, self._credentials.secrets):
                raise TurnedAwayError("unsigned")
            await self._inbox.store(body, signature, content_type)
        self._worker.wake()
