"""`dispatcher api` as a process: killed, stopped, and started wrongly."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.store import schema, webhooks
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.webhooks import GROUP
from tests.api.conftest import message
from tests.api.meta import NUMBER, WABA, WEBHOOKS, ApiProcess, api_process, environment, signed, status, webhook
from tests.cell import eventually
from tests.servers import PATIENCE_S
from tests.store.cell import publish, published

CELL = "processes"
COMMAND = [sys.executable, "-m", "dispatcher", "api"]


def logged(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    server: Server, redis: Redis, tmp_path: Path
) -> None:
    """Bodies of many updates are acknowledged faster than they are worked off."""
    keys, stream = [f"k{i}" for i in range(6000)], schema.Cell(CELL).key("webhooks")
    await publish(redis, CELL, published(NUMBER, "otp", 80.0, WABA))
    async with Dispatcher.connect(server.url, cell=CELL) as client:
        async for ticket in client.send_many(message(key) for key in keys):
            assert ticket.error is None
        bodies = [webhook([status(key) for key in keys[at : at + 500]]) for at in range(0, len(keys), 500)]
        while not await redis.xlen(stream):  # once as a rule; more often if all was worked off before the end
            async with api_process(server.url, CELL, tmp_path / "1.log") as api:
                async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as http:
                    posts = (http.post(WEBHOOKS, content=body, headers=signed(body)) for body in bodies)
                    answers = await asyncio.gather(*posts)
                api.send(signal.SIGKILL)
                await api.ended()
            assert {answer.status_code for answer in answers} == {200}
        await let_go(redis, stream)
        async with api_process(server.url, CELL, tmp_path / "2.log"):
            await eventually(lambda: is_empty(redis, stream))
        found = [await client.status(key) for key in keys]
    assert {record.state if record else None for record in found} == {"sent"}


async def let_go(redis: Redis, stream: str) -> None:
    """Age what the dead process held, instead of waiting for ten seconds."""
    for row in await redis.xpending_range(stream, GROUP, "-", "+", 1000):
        give_back = webhooks.give_back(schema.Cell(CELL), stream, row["consumer"].decode(), [row["message_id"]])
        await Pipeline(redis).run(give_back)


async def is_empty(redis: Redis, stream: str) -> bool:
    return int(await redis.xlen(stream)) == 0


async def begun(api: ApiProcess, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin a POST of a webhook, without its body; the door is at it, as it has asked to go on."""
    reader, writer = await asyncio.open_connection(*address(api))
    head = [f"POST {WEBHOOKS} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Expect: 100-continue"]
    head += [f"{name}: {value}" for name, value in signed(body).items()]
    writer.write("\r\n".join([*head, "", ""]).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    return reader, writer


def address(api: ApiProcess) -> list[str]:
    return api.url.removeprefix("http://").split(":")


async def is_refused(api: ApiProcess) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address(api))
    except ConnectionError:
        return True
    writer.close()
    return False


async def test_a_stop_answers_what_is_under_way_and_ends_the_batch(
    server: Server, redis: Redis, tmp_path: Path
) -> None:
    stream = schema.Cell(CELL).key("webhooks")
    body = webhook([status("")] * 1000)
    async with api_process(server.url, CELL, tmp_path / "log") as api:
        reader, writer = await begun(api, body)
        writer.write(body[:100])
        api.send(signal.SIGTERM)
        await eventually(lambda: is_refused(api))
        writer.write(body[100:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert await api.ended() == 0
    assert logged(tmp_path / "log") == ["process.started", "process.stopping", "process.stopped"]
    assert (await redis.xpending(stream, GROUP))["pending"] == 0


async def test_a_second_signal_ends_it_at_once(server: Server, redis: Redis, tmp_path: Path) -> None:
    async with api_process(server.url, CELL, tmp_path / "log") as api:
        _, writer = await begun(api, b"{}")
        api.send(signal.SIGTERM)
        await eventually(lambda: is_refused(api))
        api.send(signal.SIGTERM)
        assert await api.ended() == 1
        writer.close()


async def test_no_body_and_no_secret_is_logged(server: Server, redis: Redis, tmp_path: Path) -> None:
    given = {"LOG_LEVEL": "DEBUG", "WEBHOOK_VERIFY_TOKEN": "open-sesame"}
    body = webhook([status("k1", recipient_id="15557654321")]) + b" canary"
    async with api_process(server.url, CELL, tmp_path / "log", **given) as api:
        async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as http:
            assert (await http.post(WEBHOOKS, content=body, headers=signed(body))).status_code == 200
            assert (await http.post(WEBHOOKS, content=body)).status_code == 401
            query = {"hub.mode": "subscribe", "hub.verify_token": "open-sesame", "hub.challenge": "1"}
            assert (await http.get(WEBHOOKS, params=query)).status_code == 200
        await eventually(lambda: is_empty(redis, schema.Cell(CELL).key("webhooks")))
        api.send(signal.SIGTERM)
        assert await api.ended() == 0
    log = (tmp_path / "log").read_text()
    assert [word for word in ("canary", "5557654321", "sesame", "0123456789abcdef") if word in log] == []


def finished(*options: str, **given: str) -> tuple[int, str, str]:
    environ = environment("redis://127.0.0.1:1/0", CELL, **given)
    done = subprocess.run(
        [*COMMAND, *options], env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_it_does_not_start_without_the_apps_secret(tmp_path: Path) -> None:
    words = tmp_path / "words.toml"
    words.write_text("stop = 1")
    given = {"APP_SECRETS": "", "OPT_OUT_WORDS_FILE": str(words)}
    problems = [
        "DISPATCHER_APP_SECRETS: webhooks cannot be checked without it; give the app's secret",
        f"DISPATCHER_OPT_OUT_WORDS_FILE: {words}: stop is no language's table: "
        'write [en], then stop = ["STOP", …] and start = ["START", …]',
    ]
    assert finished(**given) == (1, "", "".join(f"dispatcher: {problem}\n" for problem in problems))
    code, out, _ = finished("--json", **given)
    assert (code, json.loads(out)["error"].splitlines()) == (1, problems)


@pytest.mark.parametrize(("host", "why"), [("127.0.0.1", "Address already in use"), ("no-such-host.invalid", r"\S.*")])
def test_a_port_that_cannot_be_had_is_said(server: Server, host: str, why: str) -> None:
    code, out, err = finished("--host", host, "--port", str(server.port))
    assert (code, out) == (1, "")
    where = re.escape(f"{host}:{server.port}")
    assert re.fullmatch(
        rf"dispatcher: DISPATCHER_API_HOST and DISPATCHER_API_PORT: cannot listen on {where} \({why}\); "
        r"give a free port of this machine\n",
        err,
    )
