"""The webhook endpoint: lets in what Meta signed, and answers once it is stored. Nothing is parsed before that."""

import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.datastructures import QueryParams
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from dispatcher import errors
from dispatcher.api.bodies import Bodies, TurnedAwayError
from dispatcher.meta.webhook import is_signed

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


class Store(Protocol):
    """Where bodies go."""

    async def store(self, body: bytes, signature: str, content_type: str) -> bool:
        """Store a body; false if it will not be passed on."""

    def missed(self) -> None:
        """Take note that the door may have missed something."""


class Witness(Protocol):
    """Who hears what became of a request."""

    def answered(self, outcome: str, took_s: float) -> None:
        """A request was answered, or its sender is gone."""

    def failed(self, task: str, exc: Exception) -> None:
        """A bug of ours showed."""

    def stored(self, *, is_forwarded: bool) -> None:
        """A body was stored."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may come in: the app's secrets, and what Meta says when the webhook is set up (None: nobody may)."""

    secrets: Sequence[bytes]
    verify_token: bytes | None


class Door:
    """An ASGI endpoint. Whatever POST it does not answer with 200 is remembered as missed."""

    def __init__(
        self,
        store: Store,
        credentials: Credentials,
        witness: Witness,
        bodies: Bodies,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._witness = witness
        self._bodies = bodies
        self._on_stored = on_stored

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
                self._store.missed()
            self._witness.answered(outcome, time.perf_counter() - began)
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
            self._witness.failed("door", exc)
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
            is_forwarded = await self._store.store(body, signature, content_type)
        self._witness.stored(is_forwarded=is_forwarded)
        self._on_stored()
