"""Requests, shapes of answers and translation of errors, with httpx.MockTransport in the engine's place."""

import inspect
from collections.abc import Callable
from importlib.metadata import version

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyreqwest import exceptions
from pyreqwest.compatibility.httpx import HttpxTransport

from dispatcher.meta import transport
from dispatcher.meta.graph import Graph
from dispatcher.policy.outcome import Answer, Lost, Reply, Unsent
from tests.meta.wire import ACCEPTED, Line, http, serving

TOKEN = "EAAsecret"
BODY = b'{"messaging_product":"whatsapp","to":"+15551234567"}'


async def post(handler: Callable[[httpx.Request], httpx.Response], *, token: str = TOKEN) -> Reply:
    graph = Graph(url="https://graph.facebook.com", version="v25.0", transport=httpx.MockTransport(handler))
    return await graph.post("106", token, BODY, deadline_s=6.0)


def raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return handler


# --- requests ----------------------------------------------------------------------------------------------------------


async def test_request_is_exact() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=ACCEPTED)

    assert await post(handler) == Answer(200, {"messages": [{"id": "wamid.1"}]})
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://graph.facebook.com/v25.0/106/messages")
    assert request.content == BODY
    assert request.extensions == {"timeout": {"read": 6.0}}
    assert dict(request.headers) == {
        "host": "graph.facebook.com",
        "authorization": f"Bearer {TOKEN}",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"whatsapp-dispatcher/{version('whatsapp-dispatcher')}",
        "content-length": str(len(BODY)),
    }


async def test_each_post_has_its_own_number_token_and_length() -> None:
    seen: list[tuple[str, str, str, bytes]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        headers = request.headers
        seen.append((request.url.path, headers["Authorization"], headers["Content-Length"], request.content))
        return httpx.Response(200)

    graph = Graph(url="http://127.0.0.1:8080/", version="v25.0", transport=httpx.MockTransport(handler))
    for number, token, body in (("1", "a", b"{}"), ("2", "b", b"{ }"), ("1", "c", b"{}"), ("a/b", "c", b"{  }")):
        await graph.post(number, token, body, deadline_s=1)
    assert seen == [
        ("/v25.0/1/messages", "Bearer a", "2", b"{}"),
        ("/v25.0/2/messages", "Bearer b", "3", b"{ }"),
        ("/v25.0/1/messages", "Bearer c", "2", b"{}"),
        ("/v25.0/a/b/messages", "Bearer c", "4", b"{  }"),  # httpx shows it decoded; on the wire it is a%2Fb
    ]


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\r\nX: y", "é", "\x00", "a\ud800"])
async def test_token_that_fits_no_header_is_proved_unsent(token: str) -> None:
    assert await post(raising(AssertionError("posted")), token=token) == Unsent("unusable token")


@pytest.mark.parametrize("url", ["", "graph.facebook.com", "ftp://graph.facebook.com", "https://", "http://a:b"])
def test_bad_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        Graph(url=url, version="v25.0")


def test_neither_graph_nor_requests_show_the_token() -> None:
    graph = Graph(url="http://127.0.0.1", version="v25.0", transport=httpx.MockTransport(raising(OSError())))
    assert TOKEN not in repr(graph) + repr(vars(graph))


# --- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 503])
@pytest.mark.parametrize(
    ("content", "body"),
    [
        (ACCEPTED, {"messages": [{"id": "wamid.1"}]}),
        (b'{"error":{"code":190}}', {"error": {"code": 190}}),
        (b"[]", []),
        (b"", None),
        (b"<!DOCTYPE html><html><title>Facebook | Error</title></html>", None),
        (ACCEPTED[:-1], None),
        (ACCEPTED + b"}", None),
        (b"\xff\xfe", None),
        (b'{"a":"\xff"}', None),
        (b"[" * 5000, None),
        (ACCEPTED + b" " * transport.BODY_LIMIT, None),
    ],
)
async def test_answer_of_any_shape_is_an_answer(status: int, content: bytes, body: object) -> None:
    assert await post(lambda request: httpx.Response(status, content=content)) == Answer(status, body)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
async def test_no_content_raises(content: bytes) -> None:
    assert isinstance(await post(lambda request: httpx.Response(200, content=content)), Answer)


async def test_streamed_answers_of_other_transports_are_read() -> None:
    class Streamed(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]  # as httpx has it
            yield ACCEPTED[:5]
            yield ACCEPTED[5:]

    assert await post(lambda request: httpx.Response(200, stream=Streamed())) == Answer(
        200, {"messages": [{"id": "wamid.1"}]}
    )


async def test_the_transport_that_comes_with_pyreqwest_serves_too() -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(http(ACCEPTED))
        await line.read()
        line.reset()

    async with serving(script) as server:
        graph = Graph(url=server.url, version="v25.0", transport=HttpxTransport())
        assert await graph.post("1", TOKEN, BODY, deadline_s=1) == Answer(200, {"messages": [{"id": "wamid.1"}]})
        assert await graph.post("1", TOKEN, BODY, deadline_s=1) == Lost("reset")
        await graph.aclose()


# --- errors ------------------------------------------------------------------------------------------------------------


def made(error: type[Exception]) -> Exception:
    """Make an error of httpx, whatever its constructor asks for, that quotes the token as far as it can."""
    request = httpx.Request("POST", "https://graph.facebook.com", headers={"Authorization": f"Bearer {TOKEN}"})
    given = {"message": TOKEN, "request": request, "response": httpx.Response(500, request=request)}
    return error(**{name: value for name, value in given.items() if name in inspect.signature(error).parameters})


# Every error that httpx exports, by the reason we give; none may be missing.
REASONS = {
    "HTTPError": "unknown",
    "HTTPStatusError": "unknown",
    "RequestError": "unknown",
    "TransportError": "unknown",
    "TimeoutException": "timeout",
    "ConnectTimeout": "timeout",
    "ReadTimeout": "timeout",
    "WriteTimeout": "timeout",
    "PoolTimeout": "timeout",
    "NetworkError": "reset",
    "ConnectError": "reset",
    "ReadError": "reset",
    "WriteError": "reset",
    "CloseError": "reset",
    "ProtocolError": "unknown",
    "LocalProtocolError": "unknown",
    "RemoteProtocolError": "closed",
    "UnsupportedProtocol": "unknown",
    "ProxyError": "unknown",
    "DecodingError": "half body",
    "TooManyRedirects": "unknown",
    "InvalidURL": "unknown",
    "CookieConflict": "unknown",
    "StreamError": "unknown",
    "StreamConsumed": "unknown",
    "StreamClosed": "unknown",
    "ResponseNotRead": "unknown",
    "RequestNotRead": "unknown",
}
EXPORTED = [cls for _, cls in inspect.getmembers(httpx, inspect.isclass) if issubclass(cls, Exception)]


def test_every_error_of_httpx_has_a_reason() -> None:
    assert {error.__name__ for error in EXPORTED} == set(REASONS)


@pytest.mark.parametrize("error", EXPORTED)
async def test_every_error_of_httpx_is_lost_unless_its_cause_proves_otherwise(error: type[Exception]) -> None:
    assert await post(raising(made(error))) == Lost(REASONS[error.__name__])


async def test_errors_of_the_operating_system_are_lost() -> None:
    assert await post(raising(ConnectionRefusedError())) == Lost("unknown")
    assert await post(raising(TimeoutError())) == Lost("timeout")


def caused(*causes: str) -> Exception:
    outer = httpx.ConnectError("connection error")
    outer.__cause__ = exceptions.ConnectError("connection error", {"causes": [{"message": cause} for cause in causes]})
    return outer


@pytest.mark.parametrize(
    ("causes", "reply"),
    [
        (("client error (Connect)", "tcp connect error", "Connection refused (os error 111)"), Unsent("refused")),
        (("client error (Connect)", "dns error", "operation timed out"), Unsent("dns")),
        (("client error (Connect)", "tcp connect error", "deadline has elapsed"), Unsent("connect timeout")),
        (("client error (Connect)", "operation timed out"), Unsent("connect timeout")),
        (("client error (Connect)", "tcp connect error", "No route to host (os error 113)"), Unsent("unreachable")),
        (("client error (Connect)", "invalid peer certificate: Expired"), Unsent("tls")),
        (("client error (SendRequest)", "tcp connect error", "Connection refused"), Lost("reset")),
        (("operation timed out",), Lost("reset")),
        ((), Lost("reset")),
    ],
)
async def test_only_the_cause_proves_that_nothing_was_sent(causes: tuple[str, ...], reply: Reply) -> None:
    assert await post(raising(caused("error sending request for url (https://refused/)", *causes))) == reply


async def test_error_without_causes_proves_nothing() -> None:
    error = httpx.ConnectError("connection error")
    error.__cause__ = exceptions.ConnectError("connection error", {"causes": None})
    assert await post(raising(error)) == Lost("reset")
    error.__cause__ = ValueError("client error (Connect)")
    assert await post(raising(error)) == Lost("reset")
