"""`send --file` as a process: standard input, terminals, interrupts, a Redis that is full or away, and any size."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from dispatcher.store.embedded import Server
from tests.cli.conftest import Commands, one_line
from tests.cli.test_sendfile import HELLO, counts, text, waiting, write
from tests.servers import OwnServer

PATIENCE_S = 30.0
AGAIN = "Run it again with the same lines: none is queued twice"
# Says in the end how much memory the process ever had.
MEASURED = """
import resource, sys
from dispatcher.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@dataclass(frozen=True)
class Running:
    """A command that reads what is written to it."""

    process: "subprocess.Popen[str]"
    stdin: IO[str]

    def write(self, *lines: object) -> None:
        self.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        self.stdin.flush()

    def ended(self) -> tuple[int, dict[str, Any], str]:
        """Wait for its end: exit code, what it answered, what it said."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, json.loads(out), one_line(err)


@contextmanager
def sending(*flags: str, path: str = "-") -> Iterator[Running]:
    command = [sys.executable, "-m", "dispatcher", "send", "--file", path, "--json", *flags]
    pipe = subprocess.PIPE
    # a shell that put us into the background had us ignore interrupts, and with us our children
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdin is not None
        yield Running(process, process.stdin)
        process.kill()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def numbered(count: int, *, body: str = "Hello") -> list[dict[str, Any]]:
    return [{**HELLO, "key": f"k{i}", "content": text(body)} for i in range(count)]


def limit(commands: Commands, bytes_max: int) -> None:
    commands.arrange(lambda cell: cell.redis.config_set("maxmemory", bytes_max))


@pytest.fixture
def commands(commands: Commands) -> Commands:
    commands.register()
    return commands


@pytest.fixture
def own(commands: Commands, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch) -> tuple[Commands, Server]:
    """A cell on a server that the test may harm."""
    server = own_server()
    monkeypatch.setenv("DISPATCHER_REDIS_URL", server.url)
    here = Commands(server.url)
    here.register()
    return here, server


# standard input


def test_standard_input_is_queued_as_it_comes(commands: Commands) -> None:
    with sending("--batch", "b") as running:
        running.write(HELLO)
        eventually(lambda: len(waiting(commands)) == 1)
        running.write(HELLO, {**HELLO, "to": "+15551234568"})
        code, found, err = running.ended()
    assert (code, *counts(found), err) == (0, "done", 3, 2, 1, 0, "")


@pytest.mark.parametrize("as_file", [False, True])
def test_standard_input_without_a_batch_is_checked_first(commands: Commands, as_file: bool) -> None:
    command = [sys.executable, "-m", "dispatcher", "send", "--file", "-"]
    write(*numbered(3000), {**HELLO, "key": None}, path="keyless.jsonl")
    write({"read": "before"}, *numbered(3000), path="keys.jsonl")

    def run(path: str, skipped: int) -> "subprocess.CompletedProcess[str]":
        with Path(path).open("rb", buffering=0) as file:
            file.seek(skipped)
            given: dict[str, Any] = {"stdin": file} if as_file else {"input": file.read().decode()}
            return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **given)

    refused = run("keyless.jsonl", 0)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("dispatcher: key: missing in 1 of 3,001 lines, first in line 3001; nothing was qu")
    assert waiting(commands) == []
    done = run("keys.jsonl", len('{"read": "before"}\n'))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3,000 queued, in ")


def test_an_interrupt_counts_what_was_queued(commands: Commands) -> None:
    with sending("--batch", "b") as running:
        running.write(*numbered(130))
        eventually(lambda: len(waiting(commands)) == 130)
        running.process.send_signal(signal.SIGINT)
        code, found, err = running.ended()
    assert (code, *counts(found)) == (130, "interrupted", 130, 130, 0, 0)
    assert err == f"dispatcher: interrupted; 130 messages were queued. {AGAIN}"


def test_a_terminal_sees_a_bar(commands: Commands) -> None:
    path = write(*numbered(500))
    command = [sys.executable, "-m", "dispatcher", "send", "--file", path]
    environ = {**os.environ, "TTY_COMPATIBLE": "1", "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=environ)
    assert done.returncode == 0
    assert all(part in done.stderr for part in ("checking", "sending", "━", "100%", "500 queued, 0 refused"))
    assert done.stdout.startswith("500 queued, in ")


# Redis full, and Redis away


def test_a_full_redis_is_waited_for(own: tuple[Commands, Server]) -> None:
    commands, _ = own
    limit(commands, 4_000_000)
    path = write(*numbered(1500, body="x" * 3000))
    with sending(path=path) as running:
        assert running.process.stderr is not None
        assert running.process.stderr.readline() == "dispatcher: Redis is full: waiting for room\n"
        assert 0 < len(waiting(commands)) < 1500
        limit(commands, 0)
        code, found, _ = running.ended()
    assert (code, *counts(found)) == (0, "done", 1500, 1500, 0, 0)
    assert len(waiting(commands)) == 1500


def test_patience_with_a_full_redis_ends_and_running_again_is_safe(own: tuple[Commands, Server]) -> None:
    commands, _ = own
    limit(commands, 4_000_000)
    path = write(*numbered(1500, body="x" * 3000))
    said = commands.run("send", "--file", path, "--wait", "0.2s", "--json")
    queued = said.json["queued"]
    assert (said.code, said.json["ended"]) == (1, "full")
    assert 0 < queued < 1500
    assert said.err.endswith(f"Redis is full, and had no room for 0.2 s; {queued:,} messages were queued. {AGAIN}")
    assert len(waiting(commands)) == queued
    limit(commands, 0)
    assert counts(commands.json("send", "--file", path)) == ("done", 1500, 1500 - queued, queued, 0)


def test_redis_lost_on_the_way_says_what_was_queued(own: tuple[Commands, Server]) -> None:
    commands, server = own
    with sending("--batch", "b") as running:
        running.write(*numbered(70))
        eventually(lambda: len(waiting(commands)) == 70)
        server.kill()
        running.write(*numbered(71)[70:])
        code, found, err = running.ended()
    assert (code, *counts(found)) == (3, "away", 71, 70, 0, 0)
    assert err == (
        f"dispatcher: Redis is away: ConnectionError, at {server.url}: start it or set DISPATCHER_REDIS_URL; "
        f"70 messages were queued. {AGAIN}"
    )


def test_data_of_another_kind_ends_a_file(commands: Commands) -> None:
    commands.arrange(lambda cell: cell.redis.set(cell.key("due"), "x"))
    said = commands.run("send", "--file", write(*numbered(300)), "--json")
    assert (said.code, said.json["ended"], said.json["queued"]) == (1, "broken", 0)


# any size


def memory_kb(path: str, lines: int, queued: int) -> int:
    command = [sys.executable, "-c", MEASURED, "send", "--file", path, "--json", "--refused", "refused.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert counts(json.loads(done.stdout)) == ("done", lines, queued, 0, lines - queued)
    *_, most = done.stderr.split()
    return int(most) // (1024 if sys.platform == "darwin" else 1)


def generated(lines: int, good_each: int) -> str:
    """A file of which every so many lines is a message, and the others no JSON."""
    with Path("big.jsonl").open("w") as file:
        for i in range(lines):
            line = json.dumps({**HELLO, "to": f"+1555{2_000_000 + i}", "key": f"k{i}"})
            file.write(f"{line}\n" if i % good_each == 0 else f"{line[:-1]}\n")
    return "big.jsonl"


def test_memory_does_not_grow_with_the_file(commands: Commands) -> None:
    small = memory_kb(generated(2000, 20), 2000, 100)
    commands.arrange(lambda cell: cell.redis.flushall())
    commands.register()
    assert memory_kb(generated(200_000, 20), 200_000, 10_000) < small + 16_000


@pytest.mark.soak
@pytest.mark.usefixtures("commands")
def test_a_million_lines_are_queued() -> None:
    assert memory_kb(generated(1_000_000, 1), 1_000_000, 1_000_000) < 120_000
