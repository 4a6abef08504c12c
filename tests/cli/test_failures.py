"""Every command where it cannot do what it was asked: its exit code, and what people and machines are told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from dispatcher.cli.commands import app
from dispatcher.store.embedded import Server
from tests.cli.conftest import Commands, Said, one_line
from tests.cli.test_docs import commands_of

COMMANDS = [name.partition(" ")[2] for name in commands_of(typer.main.get_command(app)) if name != "dispatcher"]
LASTING = {"worker", "api", "exporter"}  # they wait for a Redis that is away
OWN = {"simulator", "demo"}  # they read no settings and ask no Redis of others
TO = ("--number", "otp-us", "--to", "+15551234567")
HELLO = {"number": "otp-us", "to": "+15551234567", "key": "k2", "content": {"type": "text", "text": {"body": "Hello"}}}


class Case(NamedTuple):
    """A command line, and a part of the error that says what to do."""

    command: str
    flags: tuple[str, ...]
    error: str


def case(command: str, *flags: str, error: str) -> Case:
    return Case(command, flags, error)


def named(found: Case) -> str:
    return " ".join((found.command, *found.flags))


def run(commands: Commands, found: Case, *flags: str) -> Said:
    """Run a command in this process, but a worker in its own, since it takes over the logs of the process."""
    arguments = (*found.command.split(), *found.flags, *flags)
    if found.command != "worker":
        return commands.run(*arguments)
    command = [sys.executable, "-m", "dispatcher", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return Said(done.returncode, done.stdout, one_line(done.stderr))


def failed(commands: Commands, found: Case, code: int) -> dict[str, Any]:
    """Run it for people and for machines; both are told the same. Returns what machines were told."""
    people = run(commands, found)
    machines = run(commands, found, "--json")
    assert (people.code, machines.code) == (code, code), (people, machines)
    assert found.error in people.err
    assert found.error in one_line(
        json.loads(machines.err)["problems"][0] if found.command == "worker" else machines.err
    )
    assert machines.out.count("\n") == 1
    return dict(machines.json)


@pytest.fixture
def commands(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands.register()
    monkeypatch.setenv("DISPATCHER_METRICS_PORT", "0")
    Path("good.jsonl").write_text(json.dumps(HELLO) + "\n")
    Path("bad.jsonl").write_text(json.dumps({**HELLO, "to": "12"}) + "\n")
    Path("keyless.jsonl").write_text(json.dumps({**HELLO, "key": None}) + "\n")
    return commands


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_speaks_to_machines(command: str) -> None:
    rows = commands_of(typer.main.get_command(app))[f"dispatcher {command}"]
    assert rows["--json"] == "Write JSON for machines."


# wrong usage: 2, and nothing is done

WRONG = [
    case("worker", "--processes", "0", error="Invalid value for '--processes'"),
    case("send", error="give --number and --to, or --file"),
    case("send", *TO, "--ttl", "soon", "--text", "Hello", error="write 90s, 15m, 2h, 1d, or seconds"),
    case("send", "--file", "good.jsonl", "--replaces", "k1", error="--replaces cannot be used with --file"),
    case("send", "--file", "no.jsonl", error="no.jsonl cannot be read: No such file or directory"),
    case("status", "k1", "--refused", error="give only one of a key, --refused and --unreadable"),
    case("events", "--group", "g", "--since", "1h", error="a group continues where it stopped"),
    case("cancel", error="Missing argument"),
    case("numbers", "shw", error="No such command 'shw'"),
    case("numbers show", "otp-us", "campaigns", error="unexpected extra argument"),
    case("numbers pause", error="Missing argument"),
    case("numbers pause", "otp-us", "--for", "0", error="write 90s, 15m, 2h, 1d, or seconds"),
    case("numbers resume", error="Missing argument"),
    case("stops list", "all", error="unexpected extra argument"),
    case("stops add", "all", error="Missing option '--reason'"),
    case("stops lift", error="Missing argument"),
    case("simulator", "--fault", "html", error="write NAME=CHANCE, such as html=0.01"),
    case("demo", "--messages", "0", error="give a whole number from 1 to 1000000"),
    *(case(command, "--no-such-flag", error="No such option: --no-such-flag") for command in COMMANDS),
]


@pytest.mark.parametrize("found", WRONG, ids=named)
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_wrong_usage_ends_with_2(commands: Commands, found: Case, flags: tuple[str, ...]) -> None:
    said = run(commands, found, *flags)
    assert (said.code, said.out) == (2, "")
    assert found.error in said.err


# Redis away: 3, at once

AWAY = [
    case("send", *TO, "--text", "Hello", "--key", "k1", error="then send again with --key k1"),
    case("send", "--file", "good.jsonl", error="Run it again with the same lines: none is queued twice"),
    case("send", "--file", "good.jsonl", "--number", "otp-us", error=""),
    case("status", error=""),
    case("status", "k1", error=""),
    case("status", "--refused", error=""),
    case("cancel", "k1", error=""),
    case("numbers", error=""),
    case("numbers show", error=""),
    case("numbers show", "otp-us", error=""),
    case("numbers pause", "otp-us", error=""),
    case("numbers resume", "otp-us", error=""),
    case("events", error=""),
    case("stops list", error=""),
    case("stops add", "all", "--reason", "x", error=""),
    case("stops lift", "all", error=""),
]


@pytest.fixture(scope="module")
def away() -> str:
    """Where a Redis was, and is no more."""
    with Server() as gone:
        return gone.url


@pytest.mark.parametrize("found", AWAY, ids=named)
def test_redis_away_ends_with_3(commands: Commands, monkeypatch: pytest.MonkeyPatch, away: str, found: Case) -> None:
    monkeypatch.setenv("DISPATCHER_REDIS_URL", away.replace("//", "//:wall-paper@"))
    told = failed(commands, found, 3)
    assert told["ended"] == "away"
    if "lines" not in told:  # the report of a file
        key = "k1" if found.command == "send" and "k1" in found.flags else None
        assert (told["error"].split(",")[0], told["field"], told["key"]) == ("Redis is away: ConnectionError", "", key)
        assert f"at {away}: start it or set DISPATCHER_REDIS_URL" in told["error"]


# refused, or broken: 1

REFUSED = [
    (case("send", "--number", "otp-uk", "--to", "+15551234567", "--text", "x", error="did you mean otp-us?"), "number"),
    (case("send", *TO, "--text", "", error="content.text.body: must have 1 to 4096 characters"), "content.text.body"),
    (case("send", *TO, "--text", "x", "--key", "k1", error="send this one under another key"), "key"),
    (case("send", *TO, "--text", "x", "--key", "k3", "--replaces", "k3", error="the key of another message"), "replaces"),
    (case("send", "--file", "keyless.jsonl", error="Give every line a key, or use --batch NAME"), "key"),
    (case("status", "k9", error="check the key and DISPATCHER_CELL"), "key"),
    (case("numbers show", "otp-uk", error="did you mean otp-us?"), "number"),
    (case("numbers pause", "otp-uk", error="did you mean otp-us?"), "number"),
    (case("numbers resume", "otp-uk", error="did you mean otp-us?"), "number"),
    (case("stops add", "al", "--reason", "x", error="Scopes are all, number:<id>"), "scope"),
    (case("stops add", "number:otp-uk", "--reason", "x", error="did you mean otp-us?"), "number"),
    (case("exporter", error="DISPATCHER_METRICS_PORT: 0 serves nothing"), ""),
    (case("demo", "--server", "/no/such/server", error="/no/such/server"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("found", "field"), REFUSED, ids=lambda value: named(value) if isinstance(value, Case) else "")
def test_what_is_refused_ends_with_1_and_says_what_to_do(commands: Commands, found: Case, field: str) -> None:
    commands.run("send", *TO, "--text", "Hello", "--key", "k1")
    told = failed(commands, found, 1)
    assert set(told) == {"ended", "error", "field", "key"}
    assert (told["ended"], told["field"]) == ("settings" if found.command in {"demo", "exporter"} else "refused", field)
    assert found.error in told["error"]


ANSWERED = [
    (
        case("cancel", "k9", error="check the key and DISPATCHER_CELL"),
        {"key": "k9", "result": "unknown", "state": None},
    ),
    (
        case("numbers resume", "otp-us", error="`dispatcher numbers show otp-us` says how it stands"),
        {"number": "106540352242922", "resumed": False, "stops": []},
    ),
    (case("stops lift", "all", error="there is no stop at all"), {"scope": "all", "lifted": False}),
]


@pytest.mark.parametrize(("found", "answer"), ANSWERED)
def test_an_answer_that_is_no_still_has_its_form(commands: Commands, found: Case, answer: dict[str, Any]) -> None:
    assert failed(commands, found, 1) == answer


def test_a_file_with_refused_lines_ends_with_1(commands: Commands) -> None:
    for flags in ((), ("--json",)):
        said = commands.run("send", "--file", "bad.jsonl", *flags)
        assert said.code == 1
        assert "phone number" in said.out


def test_a_port_that_is_taken_ends_with_1(commands: Commands, server: Server) -> None:
    found = case("simulator", "--port", str(server.port), error="give another --port, or 0 for a free one")
    assert failed(commands, found, 1)["ended"] == "refused"


# settings: 1, all problems at once

SETTINGS = [
    *AWAY,
    case("worker", error=""),
    case("worker", "--processes", "2", error=""),
    case("api", error=""),
    case("exporter", error=""),
]


@pytest.mark.parametrize("found", SETTINGS, ids=named)
def test_wrong_settings_end_with_1(commands: Commands, monkeypatch: pytest.MonkeyPatch, found: Case) -> None:
    monkeypatch.setenv("DISPATCHER_IN_FLIGHT_PER_NUMBER", "many")
    monkeypatch.setenv("DISPATCHER_CEL", "eu")
    assert failed(commands, found._replace(error="DISPATCHER_IN_FLIGHT_PER_NUMBER: 'many' is wrong"), 1) == {
        "ended": "settings",
        "error": "DISPATCHER_IN_FLIGHT_PER_NUMBER: 'many' is wrong; give a whole number from 1 to 100000\n"
        "DISPATCHER_CEL: unknown; did you mean DISPATCHER_CELL?",
        "field": "",
        "key": None,
    }


def test_no_command_is_left_out() -> None:
    assert {each.command for each in WRONG} == set(COMMANDS)
    assert {each.command for each in AWAY} == set(COMMANDS) - LASTING - OWN
    assert {each.command for each in SETTINGS} == set(COMMANDS) - OWN
