"""`dispatcher events`: a line an event, for people or machines, until there is no more or somebody has seen enough."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dispatcher.store.embedded import Server
from tests.cli.conftest import Commands
from tests.store.cell import NUMBER, Cell

STREAM = "dispatch:{main}:events"
PATIENCE_S = 20.0
COMMAND = [sys.executable, "-m", "dispatcher", "events"]
HOUR_MS = 3_600_000


def told(key: str, kind: str = "sent", **fields: str) -> dict[str, str]:
    return {
        "v": "1", "type": kind, "at": "1795377964287", "number": NUMBER, "key": key, "wamid": "wamid.1", "campaign": "",
        "category": "utility", "attempt": "1", "cause": "", "error": "", **fields,
    }  # fmt: skip


def tell(commands: Commands, *events: dict[str, Any], stream: str = STREAM, age_ms: int = 0) -> None:
    async def write(cell: Cell) -> None:
        now_ms = await cell.now() // 1000
        for i, fields in enumerate(events):
            await cell.redis.xadd(stream, fields, id=f"{now_ms - age_ms}-{i + 1}")

    commands.arrange(write)


def keys(commands: Commands, *arguments: str) -> list[str]:
    said = commands.run("events", "--json", *arguments)
    assert said.code == 0, said
    return [json.loads(line)["key"] for line in said.out.splitlines()]


@contextmanager
def following(server: Server, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    environ = {**os.environ, "DISPATCHER_REDIS_URL": server.url}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def interrupted(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, err


def test_people_get_a_line_an_event(commands: Commands) -> None:
    tell(commands, told("k1"), told("k2", "dead", cause="rejected", error="132001 no such template"))
    said = commands.run("events")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        f"2026-11-22 20:06:04Z  sent        {NUMBER}   k1",
        f"2026-11-22 20:06:04Z  dead        {NUMBER}   k2  rejected  132001 no such template",
    ]


def test_machines_get_an_object_a_line(commands: Commands) -> None:
    tell(commands, told("k1", pricing='{"billable":true}', extra='{"callback_data":"order=1"}'))
    found = json.loads(commands.run("events", "--json").out)
    del found["id"]
    assert found == {
        "v": 1, "type": "sent", "at": "2026-11-22T20:06:04.287Z", "number": NUMBER, "key": "k1", "wamid": "wamid.1",
        "campaign": "", "category": "utility", "callback_data": "order=1", "attempt": 1, "cause": "", "error": "",
        "pricing": {"billable": True}, "trace": "",
    }  # fmt: skip


def test_an_empty_cell_has_no_events(commands: Commands) -> None:
    assert commands.run("events").out == ""


def test_types_and_keys_are_filtered(commands: Commands) -> None:
    tell(commands, told("k1"), told("k1", "read"), told("k2", "failed"), told("k3", "dead"))
    assert keys(commands, "--type", "failed, dead") == ["k2", "k3"]
    assert keys(commands, "--key", "k1") == ["k1", "k1"]
    assert keys(commands, "--key", "k1", "--type", "read") == ["k1"]


def test_a_type_that_nobody_knows_is_wondered_at(commands: Commands) -> None:
    said = commands.run("events", "--type", "raed")
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("dispatcher: there is no type raed; there are accepted, dead, ")


def test_what_is_older_can_be_left_out(commands: Commands) -> None:
    tell(commands, told("old"), age_ms=2 * HOUR_MS)
    tell(commands, told("new"), age_ms=HOUR_MS // 2)
    assert keys(commands) == ["old", "new"]
    assert keys(commands, "--since", "1h") == ["new"]


def test_a_group_gets_each_event_once(commands: Commands) -> None:
    tell(commands, *(told(f"k{i}") for i in range(250)))
    assert keys(commands, "--group", "crm") == [f"k{i}" for i in range(250)]
    assert keys(commands, "--group", "crm") == []
    assert keys(commands, "--group", "other", "--key", "k7") == ["k7"]
    assert keys(commands, "--group", "other") == []


def test_the_other_streams_hide_who_wrote_from_people(commands: Commands) -> None:
    said = {"v": "1", "type": "message", "at": "1795377964287", "number": NUMBER, "waba": "7", "wamid": "w"}
    inbound = said | {"sender": "+15551234567", "kind": "text", "text": "hello", "raw": '{"id":"w"}'}
    tell(commands, inbound, stream="dispatch:{main}:inbound")
    news = {"v": "1", "type": "account_alerts", "at": "1795377964287", "waba": "7", "raw": '{"a":1}'}
    tell(commands, news, stream="dispatch:{main}:updates")
    shown = f"2026-11-22 20:06:04Z  message     {NUMBER}   +1555•••4567  text\n"
    assert commands.run("events", "--stream", "inbound").out == shown
    assert commands.run("events", "--stream", "updates").out.split() == [
        "2026-11-22",
        "20:06:04Z",
        "account_alerts",
        "7",
    ]
    found = json.loads(commands.run("events", "--stream", "inbound", "--json").out)
    assert (found["sender"], found["text"], found["data"]) == ("+15551234567", "hello", {"id": "w"})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--group", "crm", "--since", "1h"], "--group and --since cannot be used together"),
        (["--group", ""], "--group needs a name"),
        (["--key", "k1", "--stream", "inbound"], "--key works with --stream events only"),
        (["--stream", "webhooks"], "'webhooks' is not one of 'events', 'inbound', 'updates'"),
        (["--since", "soon"], "is not a duration"),
    ],
)
def test_wrong_usage(commands: Commands, arguments: list[str], why: str) -> None:
    said = commands.run("events", *arguments)
    assert said.code == 2
    assert why in said.err


def test_what_is_no_stream_is_refused(commands: Commands) -> None:
    commands.arrange(lambda cell: cell.redis.set(STREAM, "x"))
    for arguments in ([], ["--group", "crm"], ["--follow"]):
        said = commands.run("events", *arguments)
        assert said.code == 1
        assert "WRONGTYPE" in said.err


@pytest.mark.parametrize("arguments", [[], ["--follow"], ["--group", "crm"], ["--follow", "--group", "crm"]])
def test_without_redis_it_ends_with_3(
    commands: Commands, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1/0")
    said = commands.run("events", *arguments)
    assert (said.code, said.out) == (3, "")
    assert "Redis is away: ConnectionError, at redis://127.0.0.1:1/0" in said.err


@pytest.mark.parametrize("arguments", [["--since", "1h"], ["--group", "crm"]])
def test_following_ends_cleanly_when_interrupted(commands: Commands, server: Server, arguments: list[str]) -> None:
    tell(commands, told("k1"))
    with following(server, "--follow", "--json", *arguments) as process:
        assert json.loads(read_line(process))["key"] == "k1"
        tell(commands, told("k2"))
        assert json.loads(read_line(process))["key"] == "k2"
        assert interrupted(process) == (0, "")


def test_following_begins_now(commands: Commands, server: Server) -> None:
    tell(commands, told("old"))
    with following(server, "--follow") as process:
        deadline = time.monotonic() + PATIENCE_S
        while not blocked(commands):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        tell(commands, told("new"))
        assert read_line(process).split()[-1] == "new"


def test_whoever_has_seen_enough_may_leave(commands: Commands, server: Server) -> None:
    tell(commands, *(told(f"k{i}") for i in range(3000)))
    with following(server) as process:
        assert read_line(process).split()[-1] == "k0"
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (0, "")


def blocked(commands: Commands) -> bool:
    """Whether somebody waits in a read."""

    async def look(cell: Cell) -> int:
        return int((await cell.redis.info("clients"))["blocked_clients"])

    return commands.arrange(look) > 0
