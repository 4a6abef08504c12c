"""The wire beneath httpx: one POST over pyreqwest, with httpx's requests, responses and errors.

The only module that knows pyreqwest. A transport of our own, since the one that comes with it passes on errors whose
classes mislead, reads bodies of any size, and takes half as much CPU again. Knows no Graph and no tokens.

**What proves that nothing left.** Not the class of an error: with a request fully read by the server, pyreqwest raises
ConnectTimeoutError on a hang and ConnectError on a reset. The proof is `client error (Connect)` among the causes, which
reqwest writes when no connection could be made. A kept connection that was closed before the request was written is
replaced without an error, and that is all that is ever tried twice; the table is in `tests/graph/test_engine.py`.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import httpx
from pyreqwest import exceptions
from pyreqwest.client import Client, ClientBuilder

CONNECT_TIMEOUT_S = 4.0  # lets a lost SYN be repeated twice (after 1 and 3 s), and is below the shortest deadline
IDLE_S = 15  # a load balancer forgets connections that idle longer, and then a send is lost on one
BODY_LIMIT = 65_536  # bytes; Graph's answers have a few hundred

_NEVER_CONNECTED = "client error (Connect)"

# What stands in the causes, most telling first, and the error of httpx that says the same.
_ERRORS: tuple[tuple[str, type[httpx.RequestError]], ...] = (
    ("operation timed out", httpx.ReadTimeout),
    ("Connection reset", httpx.ReadError),
    ("Broken pipe", httpx.WriteError),
    ("end of file before message length reached", httpx.DecodingError),
    ("connection closed before message completed", httpx.RemoteProtocolError),
)

# Where connecting failed, in the order in which it goes: name, TCP, and what remains is TLS.
_STEPS: tuple[tuple[str, str], ...] = (
    ("dns error", "dns"),
    ("refused", "refused"),
    ("deadline has elapsed", "connect timeout"),
    ("timed out", "connect timeout"),
    ("tcp connect error", "unreachable"),
)


class Engine(httpx.AsyncBaseTransport):
    """Sends each request once, over HTTP/1.1 connections of its own; follows nothing, asks no proxy.

    Certificates are verified; `root_pem` is trusted beside the known authorities.
    """

    def __init__(self, *, connect_timeout_s: float = CONNECT_TIMEOUT_S, root_pem: bytes | None = None) -> None:
        builder = (
            ClientBuilder()
            .follow_redirects(False)  # a 307 would be posted again, with the token
            .no_proxy()  # nor may the environment send tokens elsewhere
            .connect_timeout(timedelta(seconds=connect_timeout_s))
            .pool_idle_timeout(timedelta(seconds=IDLE_S))
            # Answers are small: ask for none of these, and let no small answer become a large one.
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
        )
        if root_pem is not None:
            builder = builder.add_root_certificate_pem(root_pem)
        self._client: Client | None = builder.build()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, which carries its body as bytes, within `extensions["timeout"]["read"]` seconds in all.

        A body above BODY_LIMIT is cut there. Cancelling ends the wait and not the request, which goes on to its
        deadline even if it had not left yet: a cancelled send is as uncertain as a lost one.

        Raises:
            httpx.RequestError: with pyreqwest's own as `__cause__`; see `unsent`.
            RuntimeError: the engine is closed.
        """
        if self._client is None:
            raise RuntimeError("the engine is closed")
        try:
            builder = (
                self._client.request(request.method, str(request.url))
                .headers(request.headers.multi_items())
                .body_bytes(request.content)
                .timeout(timedelta(seconds=request.extensions["timeout"]["read"]))
            )
        except ValueError:
            # Its text quotes the header that it does not like, so it is neither passed on nor chained.
            raise httpx.LocalProtocolError("request cannot be built", request=request) from None
        try:
            async with builder.build_streamed() as response:
                body = await response.body_reader.read(BODY_LIMIT)  # all of it, unless there is more than that
                return httpx.Response(
                    response.status, headers=list(response.headers.items()), stream=httpx.ByteStream(bytes(body or b""))
                )
        except exceptions.PyreqwestError as exc:
            raise _error(exc)("no whole answer", request=request) from exc

    async def warm_up(self) -> None:
        """Fail once where it harms nobody.

        The first error of a process reads the engine's own symbols, up to 70 ms in which nothing is sent, and then
        everything that waited leaves in one burst.
        """
        with suppress(OSError, httpx.RequestError):
            async with await asyncio.start_server(_reset, "127.0.0.1", 0) as server:
                url = "http://{}:{}/".format(*server.sockets[0].getsockname())
                await self.handle_async_request(httpx.Request("POST", url, extensions={"timeout": {"read": 1.0}}))

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()  # ends what is in flight; idle connections go with the last reference


async def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a reset."""
    writer.transport.abort()


def unsent(exc: BaseException) -> str | None:
    """Return at which step connecting failed, if the cause of `exc` proves that it did and so nothing was sent."""
    causes = _causes(exc.__cause__)
    if _NEVER_CONNECTED not in causes:
        return None
    text = " | ".join(causes[causes.index(_NEVER_CONNECTED) :])  # what stands before it names the host
    return next((step for sign, step in _STEPS if sign in text), "tls")


def _error(exc: exceptions.PyreqwestError) -> type[httpx.RequestError]:
    """Return the error of httpx for `exc`, whose class is no help."""
    causes = _causes(exc)
    if _NEVER_CONNECTED in causes:
        return httpx.ConnectError
    text = " | ".join(causes)
    return next((error for sign, error in _ERRORS if sign in text), httpx.TransportError)


def _causes(exc: BaseException | None) -> list[str]:
    """Return the messages of the chain of causes that pyreqwest keeps, outermost first; none for another's error."""
    if not isinstance(exc, exceptions.DetailedPyreqwestError):
        return []
    return [cause["message"] for cause in exc.details["causes"] or ()]
