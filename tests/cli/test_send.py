"""`send`, `status KEY` and `cancel`: one message from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from dispatcher.message.message import State
from dispatcher.store import numbers
from dispatcher.store.numbers import Registered
from tests.cli.conftest import NUMBERS_FILE, Commands
from tests.store.cell import NUMBER, WABA, Cell

TO = ("--number", "otp-us", "--to", "+15551234567")
HELLO = (*TO, "--text", "Hello", "--key", "k1")


def body(commands: Commands, key: str = "k1") -> dict[str, Any]:
    """What would be posted."""

    async def read(cell: Cell) -> dict[str, Any]:
        raw = await cell.redis.get(cell.key("body:" + key))
        return dict(json.loads(raw + b"}"))

    return commands.arrange(read)


def test_a_text_is_queued_once(commands: Commands) -> None:
    commands.register()
    assert commands.json("send", *HELLO) == {"key": "k1", "state": "queued", "duplicate": False}
    assert commands.json("send", *HELLO) == {"key": "k1", "state": "queued", "duplicate": True}
    assert body(commands) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+15551234567",
        "type": "text",
        "text": {"body": "Hello"},
    }


def test_people_read_the_key_and_the_state(commands: Commands) -> None:
    commands.register()
    assert commands.run("send", *HELLO).out == "k1 queued\n"
    assert commands.run("send", *HELLO).out == "k1 queued (already known, not queued again)\n"


def test_a_template_takes_its_language_and_parameters(commands: Commands) -> None:
    commands.register()
    flags = ("--template", "shipped", "--language", "en_US", "--param", "4411", "--param", "today", "--key", "k1")
    assert commands.run("send", *TO, *flags).code == 0
    parameters = [{"type": "text", "text": "4411"}, {"type": "text", "text": "today"}]
    assert body(commands)["template"] == {
        "name": "shipped",
        "language": {"code": "en_US"},
        "components": [{"type": "body", "parameters": parameters}],
    }


def test_content_is_taken_as_meta_documents_it(commands: Commands) -> None:
    commands.register()
    content = {"type": "image", "image": {"id": "1013859600285441"}}
    assert commands.run("send", *TO, "--content", json.dumps(content), "--key", "k1").code == 0
    assert body(commands)["image"] == {"id": "1013859600285441"}


def test_every_flag_reaches_the_message(commands: Commands) -> None:
    commands.register()
    flags = {
        "--priority": "bulk",
        "--category": "service",
        "--campaign": "spring",
        "--not-before": "2099-01-01T00:00:00+01:00",
        "--ttl": "2h",
        "--callback-data": "order=4411",
        "--on-uncertain": "resend",
    }
    assert commands.run("send", *HELLO, *(word for flag in flags.items() for word in flag)).code == 0

    async def read(cell: Cell) -> tuple[dict[str, str], bytes | None]:
        return await cell.record("k1"), await cell.redis.get(cell.key("extra:k1"))

    record, extra = commands.arrange(read)
    due = 4_070_905_200_000_000
    expected = {
        "priority": "2",
        "category": "service",
        "campaign": "spring",
        "due": str(due),
        "expires": str(due + 7_200_000_000),
        "on_uncertain": "resend",
    }
    assert expected == {name: record[name] for name in expected}
    assert json.loads(extra or b"") == {"callback_data": "order=4411"}


def test_a_numbers_file_is_published_first_without_its_tokens(commands: Commands) -> None:
    Path("numbers.toml").write_text(NUMBERS_FILE)
    assert commands.run("send", *HELLO).code == 0
    assert commands.arrange(lambda cell: cell.run(numbers.all_)) == [Registered(NUMBER, "otp-us", WABA)]


def test_a_broken_numbers_file_is_named_with_all_its_problems(commands: Commands) -> None:
    Path("numbers.toml").write_text('[numbers.otp]\nname = "OTP"\n')
    said = commands.run("send", *HELLO)
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "dispatcher: numbers.toml: numbers.otp: not a phone number id, which is 1 to 32 digits; a name goes into the "
        "field name dispatcher: numbers.toml: numbers.otp.name: 'OTP' is wrong; give 1 to 64 of a-z, 0-9, - and _, not "
        "only digits"
    )


def test_an_empty_registry_says_what_to_do(commands: Commands) -> None:
    said = commands.run("send", *HELLO)
    assert (said.code, said.out, said.err) == (
        1,
        "",
        "dispatcher: number: no numbers registered in cell main: start a worker or give NUMBERS_FILE",
    )


def test_an_unknown_number_names_the_nearest(commands: Commands) -> None:
    commands.register()
    said = commands.run("send", "--number", "otp-uk", "--to", "+15551234567", "--text", "Hello")
    assert (said.code, said.err) == (
        1,
        "dispatcher: number: otp-uk is not a number of cell main, did you mean otp-us?",
    )


def test_the_same_key_with_other_content_is_refused(commands: Commands) -> None:
    commands.register()
    commands.run("send", *HELLO)
    said = commands.run("send", *TO, "--text", "Bye", "--key", "k1")
    assert (said.code, said.err) == (
        1,
        "dispatcher: key: k1 is known with another recipient or other content (queued): send this one under another key",
    )


def test_a_newer_message_replaces_one_that_waits(commands: Commands) -> None:
    commands.register()
    commands.run("send", *HELLO)
    commands.run("send", *TO, "--text", "Bye", "--key", "k2", "--replaces", "k1")
    older, newer = commands.json("status", "k1"), commands.json("status", "k2")
    assert (older["state"], older["cause"], newer["state"]) == ("cancelled", "replaced", "queued")


def test_what_is_to_be_replaced_need_not_be_known(commands: Commands) -> None:
    commands.register()
    assert commands.json("send", *HELLO, "--replaces", "k0") == {"key": "k1", "state": "queued", "duplicate": False}


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ((), "give one of --text, --template and --content"),
        (("--text", "Hello", "--content", "{}"), "give one of --text, --template and --content"),
        (("--text", "Hello", "--language", "en_US"), "--language and --param go with --template"),
        (("--template", "shipped"), "--template needs --language, such as en_US"),
        (("--content", "{"), "--content is not JSON: Expecting property name enclosed in double quotes"),
        (("--text", "Hello", "--ttl", "2 weeks"), "'2 weeks' is not a duration: write 90s, 15m, 2h, 1d, or seconds"),
        (
            ("--text", "Hello", "--not-before", "2026-11-22T15:00:00"),
            'must say its time zone, as "2026-11-22T15:00:00Z"',
        ),
        (("--text", "Hello", "--priority", "high"), "urgent"),
    ],
)
def test_wrong_usage_says_what_is_right(commands: Commands, flags: tuple[str, ...], error: str) -> None:
    said = commands.run("send", *TO, *flags)
    assert (said.code, said.out) == (2, "")
    assert error in said.err


def test_status_says_how_a_message_stands(commands: Commands) -> None:
    commands.register()
    commands.run("send", *HELLO)
    found = commands.json("status", "k1")
    times = {name: found.pop(name) for name in ("enqueued_at", "due_at", "expires_at")}
    assert found == {
        "key": "k1",
        "state": "queued",
        "cause": "no_worker",
        "number": NUMBER,
        "priority": "normal",
        "recipient": "+15551234567",
        "attempts": 0,
        "wamid": "",
        "error": "",
        "claimed_at": None,
        "settled_at": None,
        "unproven": 0,
        "others": "",
        "decides_at": None,
    }
    assert times["enqueued_at"] == times["due_at"]
    assert all(at.endswith("Z") for at in times.values())


def test_people_see_masked_recipients(commands: Commands) -> None:
    commands.register()
    commands.run("send", *HELLO)
    shown = dict(line.split(maxsplit=1) for line in commands.run("status", "k1").out.splitlines())
    assert (shown["key"], shown["state"], shown["recipient"]) == ("k1", "queued", "+1555•••4567")


def test_an_accepted_message_shows_its_wamid(commands: Commands) -> None:
    async def accepted(cell: Cell) -> None:
        await cell.settle(await cell.claimed("k1"), "accepted", "wamid.7")

    commands.arrange(accepted)
    found = commands.json("status", "k1")
    assert (found["state"], found["cause"], found["wamid"], found["attempts"]) == ("accepted", "", "wamid.7", 1)


def test_an_unknown_key_is_refused(commands: Commands) -> None:
    said = commands.run("status", "k1")
    assert (said.code, said.out, said.err) == (
        1,
        "",
        "dispatcher: k1 is not known (any more): check the key and DISPATCHER_CELL",
    )


def test_a_waiting_message_is_cancelled_once(commands: Commands) -> None:
    commands.register()
    commands.run("send", *HELLO)
    assert commands.json("cancel", "k1") == {"key": "k1", "result": "cancelled", "state": "queued"}
    assert commands.json("cancel", "k1", code=1) == {"key": "k1", "result": "settled", "state": State.CANCELLED}
    said = commands.run("cancel", "k1")
    assert (said.code, said.err) == (1, "dispatcher: k1 is already cancelled: there is nothing to cancel")


def test_what_is_under_way_is_too_late_to_cancel(commands: Commands) -> None:
    commands.arrange(lambda cell: cell.claimed("k1"))
    said = commands.run("cancel", "k1", "--json")
    assert (said.code, said.json) == (1, {"key": "k1", "result": "marked", "state": "sending"})
    assert said.err == "dispatcher: k1 is sending: too late, it will not be sent again"


def test_an_unknown_key_cannot_be_cancelled(commands: Commands) -> None:
    assert commands.json("cancel", "k1", code=1) == {"key": "k1", "result": "unknown", "state": None}


def test_people_read_that_it_is_cancelled(commands: Commands) -> None:
    commands.arrange(lambda cell: cell.queue("k1"))
    assert commands.run("cancel", "k1").out == "k1 cancelled\n"
