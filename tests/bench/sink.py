"""The cheapest endpoint there can be in Python: takes every POST at once, counts keys, and judges nothing.

Instant answers need it: the simulator, which parses and judges, would itself be what is measured. `GET` tells what came.
"""

import asyncio
import json
import time
from collections import Counter

_CALLBACK = b'"biz_opaque_callback_data":"'
_LENGTH = b"content-length:"
_BACKLOG = 8192

# As the simulator answers, byte by byte but for the ids.
_BODY = (
    b'{"messaging_product": "whatsapp", "contacts": [{"input": "+15550000001", "wa_id": "15550000001"}], '
    b'"messages": [{"id": "wamid.HBgLMTU1NTAwMDAwMDEVAgARGBI%023XAA==", "message_status": "accepted"}]}'
)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nx-fb-request-id: A000000000000000000001\r\n"
    b"x-fb-trace-id: A000000000000000000001\r\nfacebook-api-version: v25.0\r\n"
    b'X-Business-Use-Case-Usage: {"102290129340398":[{"type":"whatsapp","call_count":1,"total_cputime":1,'
    b'"total_time":1,"estimated_time_to_regain_access":0}]}\r\nContent-Length: %d\r\n\r\n'
)
_ANSWER = _HEAD % len(_BODY % 0) + _BODY


class Seen:
    """What came so far; `first_ns` by the monotonic clock."""

    def __init__(self) -> None:
        self.posts = 0
        self.keys: Counter[bytes] = Counter()
        self.first_ns = 0

    def report(self) -> dict[str, int]:
        once = sum(1 for count in self.keys.values() if count == 1)
        return {"posts": self.posts, "once": once, "first_ns": self.first_ns}


class _Connection(asyncio.Protocol):
    """One connection: requests in order, each answered as soon as it is whole."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        if not self._seen.first_ns and not data.startswith(b"GET"):
            self._seen.first_ns = time.monotonic_ns()
        data = self._rest + data
        while data:
            end = data.find(b"\r\n\r\n") + 4
            end = _whole(data, end) if end > 3 else 0
            if not end:
                break
            self._transport.write(self._answer(data[:end]))
            data = data[end:]
        self._rest = data

    def _answer(self, request: bytes) -> bytes:
        if request.startswith(b"GET"):
            body = json.dumps(self._seen.report()).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
                len(body), body,
            )  # fmt: skip
        seen = self._seen
        begin = request.rfind(_CALLBACK) + len(_CALLBACK)
        seen.keys[request[begin : request.find(b'"', begin)]] += 1
        seen.posts += 1
        return _ANSWER % seen.posts


def _whole(data: bytes, head_end: int) -> int:
    """Where the request that begins here ends; 0 while a part of it is missing."""
    head = data[:head_end].lower()
    at = head.find(_LENGTH)
    length = int(head[at + len(_LENGTH) : head.find(b"\r", at)]) if at >= 0 else 0
    end = head_end + length
    return end if end <= len(data) else 0


def run() -> None:
    """Serve on a free port of loopback, which is printed, until stopped."""
    import uvloop

    uvloop.run(_run())


async def _run() -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(seen), "127.0.0.1", 0, backlog=_BACKLOG)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()
