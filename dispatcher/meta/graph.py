"""The messages endpoint of Meta's Graph API, over httpx: bytes in, a `Reply` out.

Lets no exception out but a cancellation, and never says more about a failure than a word or two of its own: errors of
httpx carry the request, and with it the token. Judges nothing; that is `policy.judge`.
"""

import re
from importlib.metadata import version as version_of
from typing import NamedTuple
from urllib.parse import quote

import httpx
import pydantic_core

from dispatcher.meta.transport import BODY_LIMIT, Engine, unsent
from dispatcher.policy.outcome import Answer, Lost, Reply, Unsent

_TOKEN = re.compile(r"[!-~]+")

# The reason of a loss by class, most special first. Proof of the contrary is looked for before, in the cause.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.TimeoutException, "timeout"),
    (TimeoutError, "timeout"),
    (httpx.DecodingError, "half body"),
    (httpx.NetworkError, "reset"),
    (httpx.RemoteProtocolError, "closed"),
)
_FAILURES = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError)


class _Sender(NamedTuple):
    """What is the same in all requests of a number, until its token changes."""

    token: str
    url: httpx.URL
    headers: httpx.Headers


class Graph:
    """One endpoint with its connections; belongs to the event loop that it is first used in."""

    def __init__(self, *, url: str, version: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Talk to `url` in Graph `version`, such as "v25.0"; `https://` is verified, `http://` is for a simulator.

        Raises:
            ValueError: `url` is none that a request could go to.
        """
        try:
            self._base = httpx.URL(f"{url.rstrip('/')}/{quote(version, safe='.')}/")
        except httpx.InvalidURL as exc:
            raise ValueError(f"{url} is not a URL: {exc}") from None
        if self._base.scheme not in ("http", "https") or not self._base.host:
            raise ValueError(f"{url} is not a URL: give https://host")
        self._agent = f"whatsapp-dispatcher/{version_of('whatsapp-dispatcher')}"
        self._transport = Engine() if transport is None else transport
        self._senders: dict[str, _Sender] = {}

    async def post(self, number: str, token: str, body: bytes, *, deadline_s: float) -> Reply:
        """Post `body`, a JSON object, as `number` and return what came of it within `deadline_s` seconds.

        The deadline covers all of it, from connecting to the last byte, and is kept by the engine: a timer of asyncio's
        as well would cost 15 µs a request. Cancelling does not stop the request; count it as lost.

        Only what is proved unsent is `Unsent`; the request is never repeated here. An answer that is no JSON,
        or has more of it than any answer of Graph, has the body None.
        """
        if _TOKEN.fullmatch(token) is None:
            return Unsent("unusable token")
        request = _request(self._sender(number, token), body, deadline_s)
        try:
            response = await self._transport.handle_async_request(request)
            content = await _content(response)
        except _FAILURES as exc:
            return _failure(exc)
        return Answer(response.status_code, _parsed(content))

    async def warm_up(self) -> None:
        """Do before the first POST what would hold up others later."""
        if isinstance(self._transport, Engine):
            await self._transport.warm_up()

    async def aclose(self) -> None:
        """Close all connections; what is in flight is lost, and to post now is a bug (RuntimeError)."""
        await self._transport.aclose()

    def _sender(self, number: str, token: str) -> _Sender:
        sender = self._senders.get(number)
        if sender is None or sender.token != token:
            url = httpx.URL(f"{self._base}{quote(number, safe='')}/messages")
            headers = httpx.Headers(
                {
                    "Host": url.netloc.decode(),
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json",
                    "Accept-Encoding": "identity",
                    "User-Agent": self._agent,
                }
            )
            sender = self._senders[number] = _Sender(token, url, headers)
        return sender


def _request(sender: _Sender, body: bytes, deadline_s: float) -> httpx.Request:
    """Return the request; given a stream, httpx takes the prepared headers as they are (7 µs less)."""
    request = httpx.Request(
        "POST",
        sender.url,
        headers=sender.headers,
        stream=httpx.ByteStream(body),
        # One figure for all: what runs over pyreqwest adds up httpx's four timeouts.
        extensions={"timeout": {"read": deadline_s}},
    )
    request.headers["Content-Length"] = str(len(body))
    request.read()
    return request


async def _content(response: httpx.Response) -> bytes:
    """Return the body; one that lies there as it came goes past httpx's decoders (9 µs less)."""
    if isinstance(response.stream, httpx.ByteStream):
        return b"".join(response.stream)
    return await response.aread()


def _parsed(content: bytes) -> object:
    """Return the JSON in `content`, None where it is none."""
    if len(content) >= BODY_LIMIT:
        return None
    try:
        return pydantic_core.from_json(content)
    except ValueError:
        return None


def _failure(exc: Exception) -> Reply:
    step = unsent(exc)
    if step is not None:
        return Unsent(step)
    return Lost(next((reason for error, reason in _REASONS if isinstance(exc, error)), "unknown"))
