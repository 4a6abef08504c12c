"""`stops`, and `numbers pause` and `resume`: what must not be sent now."""

import getpass
import socket
from datetime import datetime, timedelta

import pytest

from dispatcher.message.message import label
from tests.cli.conftest import Commands
from tests.store.cell import NUMBER, OTHER, WABA, Cell, template

ME = f"{getpass.getuser()}@{socket.gethostname()}"


@pytest.fixture(autouse=True)
def _registered(commands: Commands) -> None:
    commands.register()


def due(commands: Commands) -> list[str]:
    """Which numbers a worker would look at now, after all were found idle."""
    return commands.arrange(lambda cell: cell.members("due"))


def test_a_stop_is_added_listed_and_lifted(commands: Commands) -> None:
    added = commands.json("stops", "add", "all", "--reason", "an outage", "--by", "ops")
    since = added.pop("since")
    assert added == {"scope": "all", "action": "hold", "reason": "an outage", "by": "ops", "until": None}
    assert commands.json("stops", "list") == [{**added, "since": since}]
    assert commands.json("stops", "lift", "all") == {"scope": "all", "lifted": True}
    assert commands.json("stops", "list") == []


def test_people_read_what_a_stop_does(commands: Commands) -> None:
    assert commands.run("stops", "list").err == "dispatcher: no stops"
    assert commands.run("stops", "add", "all", "--reason", "[bold]x").out == "all holds until it is lifted\n"
    said = commands.run(
        "stops", "add", "campaign:spring", "--cancel", "--reason", "typo", "--until", "2099-01-01T00:00:00Z"
    )
    assert said.out == "campaign:spring cancels until 2099-01-01 00:00:00Z\n"
    lines = [line.split() for line in commands.run("stops", "list").out.splitlines()]
    assert lines[0] == ["scope", "action", "since", "ends", "by", "reason"]
    assert (lines[1][:2], lines[1][-4:]) == (["all", "hold"], ["when", "lifted", ME, "[bold]x"])
    assert (lines[2][:2], lines[2][-2:]) == (["campaign:spring", "cancel"], [ME, "typo"])
    assert commands.run("stops", "lift", "all").out == "all lifted\n"


def test_a_stop_may_end_by_itself(commands: Commands) -> None:
    added = commands.json("stops", "add", "all", "--reason", "x", "--for", "2h")
    lasts = datetime.fromisoformat(added["until"]) - datetime.fromisoformat(added["since"])
    assert timedelta(hours=2) - timedelta(seconds=5) < lasts <= timedelta(hours=2)


def test_a_stop_that_is_over_is_marked(commands: Commands) -> None:
    commands.run("stops", "add", "all", "--reason", "x", "--for", "0.001")
    assert " over " in commands.run("stops", "list").out


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("number:otp-us", f"number:{NUMBER}"),
        (f"number:{NUMBER}", f"number:{NUMBER}"),
        ("lane:campaigns:bulk", f"lane:{OTHER}:bulk"),
        (f"template:{WABA}:{'a' * 100}", f"template:{WABA}:{label('a' * 100)}"),
    ],
)
def test_scopes_are_kept_as_claims_compare_them(commands: Commands, given: str, kept: str) -> None:
    assert commands.json("stops", "add", given, "--reason", "x")["scope"] == kept
    assert commands.json("stops", "lift", given) == {"scope": kept, "lifted": True}


def test_a_stop_by_a_long_template_name_holds_its_messages(commands: Commands) -> None:
    name = "shipped_" * 12
    commands.run("stops", "add", f"template:{WABA}:{name}", "--reason", "paused by Meta")

    async def claim(cell: Cell) -> int:
        await cell.queue("k1", content=template(name))
        await cell.own()
        return (await cell.claim(rate_per_s=100_000.0)).parked

    assert commands.arrange(claim) == 1
    assert commands.json("stops", "lift", f"template:{WABA}:{name}")["lifted"]
    assert commands.arrange(lambda cell: cell.lane()) == ["k1"]


@pytest.mark.parametrize(
    ("scope", "woken"),
    [
        ("all", [NUMBER, OTHER]),
        (f"waba:{WABA}", [NUMBER, OTHER]),
        ("number:otp-us", [NUMBER]),
        ("lane:campaigns:bulk", [OTHER]),
        ("campaign:spring", []),
    ],
)
def test_lifting_wakes_the_numbers_it_held(commands: Commands, scope: str, woken: list[str]) -> None:
    commands.run("stops", "add", scope, "--reason", "x")
    assert due(commands) == []
    commands.run("stops", "lift", scope)
    assert due(commands) == woken


def test_a_stop_of_an_unregistered_number_can_still_be_lifted(commands: Commands) -> None:
    commands.arrange(lambda cell: cell.stop("number:999"))
    assert commands.json("stops", "lift", "number:999") == {"scope": "number:999", "lifted": True}


@pytest.mark.parametrize(
    ("scope", "error"),
    [
        ("nmber:1", '"nmber:1" is none, did you mean number?'),
        ("lane:otp-us:high", f'"lane:{NUMBER}:high" is not complete'),
        ("number:otp-uk", "otp-uk is not a number of cell main, did you mean otp-us?"),
        ("number:", '"number:" is not complete'),
    ],
)
def test_a_scope_that_is_none_is_refused(commands: Commands, scope: str, error: str) -> None:
    said = commands.run("stops", "add", scope, "--reason", "x")
    assert (said.code, said.out) == (1, "")
    assert error in said.err
    assert commands.json("stops", "list") == []


def test_lifting_what_does_not_stand_names_the_nearest(commands: Commands) -> None:
    said = commands.run("stops", "lift", "all")
    assert (said.code, said.err) == (1, "dispatcher: no stop for all; there is no stop at all")
    commands.run("stops", "add", "campaign:spring", "--reason", "x")
    said = commands.run("stops", "lift", "campaign:sprint")
    assert (said.code, said.err) == (1, "dispatcher: no stop for campaign:sprint; did you mean campaign:spring?")
    assert commands.json("stops", "lift", "all", code=1) == {"scope": "all", "lifted": False}


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--for", "2h", "--until", "2099-01-01T00:00:00Z"), "give --until or --for, not both"),
        (("--until", "2020-01-01T00:00:00Z"), "--until 2020-01-01 00:00:00Z has passed: it is "),
        (("--until", "tomorrow"), 'must be a time such as "2026-11-22T15:00:00Z", given "tomorrow"'),
        (("--for", "0s"), "'0s' is not a duration: write 90s, 15m, 2h, 1d, or seconds"),
    ],
)
def test_times_that_are_none_are_wrong_usage(commands: Commands, flags: tuple[str, ...], error: str) -> None:
    said = commands.run("stops", "add", "all", "--reason", "x", *flags)
    assert said.code == 2
    assert error in said.err
    assert commands.run("numbers", "pause", "otp-us", *flags).code == 2


def test_a_number_is_paused_and_resumed(commands: Commands) -> None:
    paused = commands.json("numbers", "pause", "otp-us", "--reason", "quality", "--by", "ops")
    del paused["since"]
    assert paused == {"scope": f"number:{NUMBER}", "action": "hold", "reason": "quality", "by": "ops", "until": None}
    assert commands.json("numbers", "show", "otp-us")["stops"] == [f"number:{NUMBER}"]
    assert due(commands) == []
    assert commands.json("numbers", "resume", "otp-us") == {"number": NUMBER, "resumed": True, "stops": []}
    assert due(commands) == [NUMBER]


def test_people_read_until_when_a_number_is_paused(commands: Commands) -> None:
    assert commands.run("numbers", "pause", "otp-us").out == "otp-us paused\n"
    said = commands.run("numbers", "pause", NUMBER, "--until", "2099-01-01T00:00:00Z")
    assert said.out == "otp-us paused until 2099-01-01 00:00:00Z\n"
    assert commands.run("numbers", "resume", "otp-us").out == "otp-us resumed\n"


def test_resuming_says_what_still_holds_a_number(commands: Commands) -> None:
    commands.run("numbers", "pause", "otp-us")
    commands.run("stops", "add", "all", "--reason", "an outage")
    said = commands.run("numbers", "resume", "otp-us")
    assert (said.code, said.out) == (0, "otp-us resumed\n")
    assert said.err == "dispatcher: otp-us is still held by all: see `dispatcher stops list`"


def test_resuming_what_was_not_paused_is_refused(commands: Commands) -> None:
    said = commands.run("numbers", "resume", "otp-us", "--json")
    assert (said.code, said.json) == (1, {"number": NUMBER, "resumed": False, "stops": []})
    assert said.err == "dispatcher: otp-us was not paused: `dispatcher numbers show otp-us` says how it stands"
