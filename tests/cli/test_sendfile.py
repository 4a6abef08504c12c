"""`send --file`: what becomes of the lines of a file, and that it is safe to run again."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.jsonlines import LINE_BYTES_MAX
from tests.cli.conftest import Commands
from tests.store.cell import NUMBER, OTHER, Cell

TEXT = {"type": "text", "text": {"body": "Hello"}}
HELLO = {"number": "otp-us", "to": "+15551234567", "content": TEXT}


def text(body: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": body}}


def write(*lines: object, path: str = "messages.jsonl") -> str:
    """Write objects as JSON, and strings as they are."""
    Path(path).write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def waiting(commands: Commands, number: str = NUMBER, lane: int = 1) -> list[str]:
    """The keys in a lane, in their order."""

    async def look(cell: Cell) -> list[str]:
        return [key.decode() for key in await cell.redis.zrange(cell.key(f"lane:{number}:{lane}"), 0, -1)]

    return commands.arrange(look)


def record(commands: Commands, key: str) -> dict[str, str]:
    async def look(cell: Cell) -> dict[str, str]:
        found = await cell.redis.hgetall(cell.key("msg:" + key))
        return {name.decode(): value.decode() for name, value in found.items()}

    return commands.arrange(look)


def counts(found: dict[str, Any]) -> tuple[str, int, int, int, int]:
    return (found["ended"], found["lines"], found["queued"], found["duplicates"], found["refused"])


@pytest.fixture
def commands(commands: Commands) -> Commands:
    commands.register()
    return commands


def test_lines_are_queued_in_their_order(commands: Commands) -> None:
    path = write(*({**HELLO, "key": f"k{i:03}"} for i in range(230)))
    found = commands.json("send", "--file", path)
    assert counts(found) == ("done", 230, 230, 0, 0)
    assert found["refused_lines"] == []
    assert found["per_second"] == pytest.approx(230 / found["seconds"], rel=0.1)
    assert waiting(commands) == [f"k{i:03}" for i in range(230)]


def test_an_empty_file_is_done(commands: Commands) -> None:
    assert counts(commands.json("send", "--file", write())) == ("done", 0, 0, 0, 0)
    assert commands.run("send", "--file", write("", " ")).out == "0 queued, in 0.0 s (0 a second)\n"


def test_refused_lines_have_number_and_reason_and_spoil_nothing(commands: Commands) -> None:
    commands.run("send", "--number", "otp-us", "--to", "+15551234567", "--text", "Other", "--key", "k9")
    path = write(
        {**HELLO, "key": "k1"},
        "",
        "{not json",
        "[]",
        "x" * (LINE_BYTES_MAX + 1),
        {**HELLO, "key": "k6", "to": "12"},
        {**HELLO, "key": "k7", "campain": "spring"},
        {**HELLO, "key": "k8", "number": "otp-uk"},
        {**HELLO, "key": "k9"},
        {**HELLO, "key": "k10"},
    )
    found = commands.json("send", "--file", path, "--refused", "refused.jsonl", code=1)
    refused = found["refused_lines"]
    assert counts(found) == ("done", 9, 2, 0, 7)
    assert [json.loads(line) for line in Path("refused.jsonl").read_text().splitlines()] == refused
    assert [(row["line"], row["field"], row["key"]) for row in sorted(refused, key=lambda row: row["line"])] == [
        (3, "", None),
        (4, "", None),
        (5, "", None),
        (6, "to", "k6"),
        (7, "campain", "k7"),
        (8, "number", "k8"),
        (9, "key", "k9"),
    ]
    assert {row["line"]: row["reason"] for row in refused}[
        8
    ] == "otp-uk is not a number of cell main, did you mean otp-us?"
    assert waiting(commands) == ["k9", "k1", "k10"]


def test_people_see_the_first_refused_lines_and_how_to_get_all(commands: Commands) -> None:
    path = write(*(["{"] * 30), {**HELLO, "key": "k1"})
    said = commands.run("send", "--file", path)
    rows = [line.split()[0] for line in said.out.splitlines() if "not JSON: EOF while parsing" in line]
    assert (said.code, rows) == (1, [str(number) for number in range(1, 21)])
    assert said.out.splitlines()[-1].startswith("1 queued, 30 refused, in 0.")
    assert said.err == "dispatcher: 10 more lines were refused: --refused FILE writes them all"
    commands.run("send", "--file", path, "--refused", "refused.jsonl")
    assert len(Path("refused.jsonl").read_text().splitlines()) == 30


# keys


def test_lines_without_a_key_are_refused_before_anything_is_queued(commands: Commands) -> None:
    path = write({**HELLO, "key": "k1"}, "", "{", HELLO, {**HELLO, "key": None})
    said = commands.run("send", "--file", path)
    assert (said.code, said.out, said.err) == (
        1,
        "",
        "dispatcher: key: missing in 2 of 4 lines, first in line 4; nothing was queued. Give every line a key, or use "
        "--batch NAME, so that sending the file again queues nothing twice",
    )
    assert waiting(commands) == []


def test_a_file_with_a_batch_is_safe_to_run_again(commands: Commands) -> None:
    path = write(*({**HELLO, "content": text(f"Hello {i}")} for i in range(120)), {**HELLO, "key": "own"})
    assert counts(commands.json("send", "--file", path, "--batch", "spring")) == ("done", 121, 121, 0, 0)
    keys = waiting(commands)
    assert keys[-1] == "own"
    assert all(key.startswith("spring:") for key in keys[:-1])
    assert counts(commands.json("send", "--file", path, "--batch", "spring")) == ("done", 121, 0, 121, 0)
    assert waiting(commands) == keys
    assert counts(commands.json("send", "--file", path, "--batch", "autumn")) == ("done", 121, 120, 1, 0)


def test_identical_lines_without_keys_are_one_message(commands: Commands) -> None:
    same = {"phone_number_id": NUMBER, "to": "1 555 123 4567", "content": {**TEXT, "messaging_product": "whatsapp"}}
    other = {**HELLO, "number": "campaigns"}
    found = commands.json("send", "--file", write(HELLO, same, HELLO, other), "--batch", "b")
    assert counts(found) == ("done", 4, 2, 2, 0)
    assert (len(waiting(commands)), len(waiting(commands, OTHER))) == (1, 1)
    assert commands.run("send", "--file", write(HELLO), "--batch", "b").out.startswith("0 queued, 1 already known, in ")


# what holds for all lines, and for one


def test_a_line_may_replace_a_message_also_one_of_the_same_file(commands: Commands) -> None:
    keyless = {**HELLO, "content": text("3"), "replaces": "k2"}
    lines = ({**HELLO, "key": "k1"}, {**HELLO, "key": "k2", "content": text("2"), "replaces": "k1"}, keyless)
    path = write(*lines, {**HELLO, "key": "k4", "replaces": "k4"}, {**HELLO, "key": "k5", "replaces": "k 1"})
    found = commands.json("send", "--file", path, "--batch", "b", code=1)
    assert counts(found) == ("done", 5, 3, 0, 2)
    assert sorted((row["line"], row["field"]) for row in found["refused_lines"]) == [(4, "replaces"), (5, "replaces")]
    assert [commands.json("status", key)["cause"] for key in ("k1", "k2")] == ["replaced", "replaced"]
    assert [key.partition(":")[0] for key in waiting(commands)] == ["b"]


def test_flags_hold_for_lines_that_do_not_say_it_themselves(commands: Commands) -> None:
    path = write(
        {"to": "+15551234567", "content": TEXT, "key": "k1"},
        {**HELLO, "key": "k2", "number": "campaigns", "priority": "urgent", "campaign": "own"},
        {"phone_number_id": OTHER, "to": "+15551234567", "content": TEXT, "key": "k3", "priority": None},
        {**HELLO, "key": "k4", "expires_at": "2099-01-01T00:00:00Z"},
    )
    flags = ("--number", "otp-us", "--priority", "bulk", "--campaign", "spring", "--ttl", "2h", "--category", "service")
    assert counts(commands.json("send", "--file", path, *flags)) == ("done", 4, 4, 0, 0)
    found = {key: record(commands, key) for key in ("k1", "k2", "k3", "k4")}
    names = ("number", "priority", "campaign", "category")
    assert [tuple(found[key][name] for name in names) for key in found] == [
        (NUMBER, "2", "spring", "service"),
        (OTHER, "0", "own", "service"),
        (OTHER, "2", "spring", "service"),
        (NUMBER, "2", "spring", "service"),
    ]
    assert int(found["k1"]["expires"]) - int(found["k1"]["due"]) == 7_200_000_000
    assert found["k4"]["expires"] == "4070908800000000"


def test_a_number_flag_that_is_unknown_is_refused_once(commands: Commands) -> None:
    said = commands.run("send", "--file", write({**HELLO, "key": "k1"}), "--number", "otp-uk")
    assert (said.code, said.out) == (1, "")
    assert said.err == "dispatcher: number: otp-uk is not a number of cell main, did you mean otp-us?"
    assert waiting(commands) == []


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--file", "no.jsonl"), "no.jsonl cannot be read: No such file or directory"),
        (("--file", "."), ". cannot be read: Is a directory"),
        (("--file", "m.jsonl", "--to", "+15551234567", "--param", "x"), "--to, --param cannot be used with --file"),
        (("--file", "m.jsonl", "--batch", "spring offer"), "--batch must be 1 to 100 characters"),
        (("--file", "m.jsonl", "--batch", "b" * 101), "--batch must be 1 to 100 characters"),
        (("--file", "m.jsonl", "--campaign", "spring offer"), "campaign: must be a string of 1 to 64 characters"),
        (("--file", "m.jsonl", "--refused", "m.jsonl"), "--refused m.jsonl is the file to send: give another"),
        (("--file", "m.jsonl", "--refused", "no/r.jsonl"), "--refused no/r.jsonl cannot be written: No such file"),
        (("--file", "m.jsonl", "--wait", "long"), "'long' is not a duration"),
        (("--number", "otp-us", "--text", "Hello"), "give --number and --to, or --file"),
        (
            ("--number", "otp-us", "--to", "+15551234567", "--text", "x", "--wait", "1s"),
            "--wait cannot be used with a single message",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_usage(commands: Commands, flags: tuple[str, ...], error: str) -> None:
    before = write({**HELLO, "key": "k1"}, path="m.jsonl")
    said = commands.run("send", *flags)
    assert (said.code, said.out) == (2, "")
    assert error in said.err
    assert Path(before).stat().st_size > 0
    assert waiting(commands) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("lines", [3, 5000])
def test_a_full_disk_under_the_refused_lines_is_said(commands: Commands, lines: int) -> None:
    said = commands.run("send", "--file", write(*["{"] * lines), "--refused", "/dev/full", "--json")
    assert (said.code, said.json["ended"]) == (1, "broken")
    assert said.err.startswith("dispatcher: stopped: No space left on device; 0 messages were queued. ")
