"""A client that hides nothing: requests as bytes, answers as bytes, over asyncio streams."""

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import urlsplit

from dispatcher.simulator import Simulator
from tests.servers import PATIENCE_S

NUMBER = "106540352242922"
TOKEN = "a-token"
PATH = f"/v25.0/{NUMBER}/messages"
NO_ANSWER_S = 0.15
ONE_IN_A_LONG_TIME = 0.001
"""A rate of one message in a thousand seconds: however slow the machine is, a second one is over the limit."""


def text_to(to: str = "+15551234567", key: str = "order-1", claim: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
        "type": "text",
        "text": {"body": "Hello"},
        "biz_opaque_callback_data": f"d1:{claim}:{key}",
        **more,
    }


def template_to(to: str = "+15551234567", name: str = "shipped", key: str = "order-1") -> dict[str, Any]:
    body = text_to(to, key)
    del body["text"]
    return {**body, "type": "template", "template": {"name": name, "language": {"code": "en_US"}}}


def headers(token: str | None = TOKEN) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def raw(body: dict[str, Any] | bytes, path: str = PATH, **more: str) -> bytes:
    """A whole POST as bytes."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {
        "Host": "graph",
        "Content-Type": "application/json",
        **headers(),
        "Content-Length": str(len(payload)),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + payload


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, url: str) -> "Wire":
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next whole answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields, body

    async def rest(self) -> bytes:
        """All that comes until the connection ends."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def filed(simulator: Simulator, count: int) -> None:
    """Wait until the ledger knows of so many POSTs."""
    async with asyncio.timeout(PATIENCE_S):
        while len(simulator.ledger) < count:
            await asyncio.sleep(0.001)


async def is_refused(url: str) -> bool:
    try:
        wire = await Wire.to(url)
    except ConnectionRefusedError:
        return True
    await wire.close()
    return False
