"""Meta's side of a webhook, for tests: bodies, signatures, and an API process to send them to."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.servers import PATIENCE_S

NUMBER, WABA = "106540352242922", "102290129340398"
SECRET = "0123456789abcdef0123456789abcdef"
WEBHOOKS = "/webhooks/whatsapp"


def status(key: str, word: str = "sent", *, claim: int = 1, **fields: Any) -> dict[str, Any]:
    """A status of a message of ours; without a key, of somebody else's."""
    ours = {"biz_opaque_callback_data": f"d1:{claim}:{key}"} if key else {}
    return {
        "id": f"wamid.{key}", "status": word, "timestamp": "1795377762", "recipient_id": "15551234567", **ours, **fields
    }  # fmt: skip


def text(body: str, wamid: str = "wamid.in1") -> dict[str, Any]:
    return {"from": "15551234567", "id": wamid, "timestamp": "1795377762", "type": "text", "text": {"body": body}}


def webhook(statuses: Sequence[Any] = (), messages: Sequence[Any] = ()) -> bytes:
    """A body as Meta sends it, with other characters than ASCII escaped."""
    value: dict[str, Any] = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": NUMBER}}
    value |= {"statuses": list(statuses)} if statuses else {}
    value |= {"messages": list(messages)} if messages else {}
    change = {"field": "messages", "value": value}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": WABA, "changes": [change]}]}).encode()


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signed(body: bytes) -> dict[str, str]:
    return {"content-type": "application/json", "x-hub-signature-256": signature(body)}


class ApiProcess:
    """One `dispatcher api`, as the command starts it."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process = process
        self.url = url

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        return await asyncio.to_thread(self.process.wait, within_s)


def environment(redis_url: str, cell: str, **given: str) -> dict[str, str]:
    ours = {"REDIS_URL": redis_url, "CELL": cell, "APP_SECRETS": SECRET, "METRICS_PORT": "0", "API_PORT": "0", **given}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    return clean | {f"DISPATCHER_{name}": value for name, value in ours.items()}


@contextlib.asynccontextmanager
async def api_process(redis_url: str, cell: str, log: Path, **given: str) -> AsyncIterator[ApiProcess]:
    """Run an API process on a free port; what is left of it at the end is killed."""
    with log.open("wb") as out:
        command = [sys.executable, "-m", "dispatcher", "api", "--json"]
        process = subprocess.Popen(
            command, env=environment(redis_url, cell, **given), stdout=subprocess.PIPE, stderr=out
        )
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, log.read_text()
        yield ApiProcess(process, json.loads(line)["url"])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Start what is started meanwhile on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
