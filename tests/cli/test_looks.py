"""What people see fits 80 columns and uses 140: no id or word is broken, and causes stand beside what worries."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.cli.output import Column, Styled, TableRow, age, sheet, span, table
from dispatcher.store import numbers, work
from tests.cli.conftest import Commands, Said
from tests.store.cell import NUMBER, OTHER, OWNER, SECOND_US, TOKEN, WABA, Cell, published, template

NAMELESS = "306540352242922"
UNSERVED = "406540352242922"
LONG_NAME = "spring-offers-northern-europe"


@pytest.fixture(params=[80, 140])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


async def troubled(cell: Cell) -> None:
    """A cell in which every number has its own trouble, with parked, uncertain and dead messages."""
    numbers_ = [
        published(NUMBER, "otp-us", 80.0, WABA), published(OTHER, "campaigns", 1000.0, ""),
        published(NAMELESS, "", 20.0, WABA), published(UNSERVED, LONG_NAME, 0.5, WABA),
    ]  # fmt: skip
    await cell.run(numbers.publish, numbers_)
    await cell.run(work.announce, OWNER, dict.fromkeys([NUMBER, OTHER, NAMELESS], TOKEN))
    await cell.run(work.tend, OWNER)
    for name, outcome, fields in (
        ("dead", "reject", {"value": "rejected", "error": "132001 Template name does not exist"}),
        ("uncertain", "uncertain", {}),
    ):
        await cell.settle(await cell.claimed(name, number=OTHER), outcome, **fields)
    await cell.stop(f"template:{WABA}:shipped")
    await cell.queue("parked", content=template("shipped"))
    await cell.claim_all()
    await cell.stop(f"number:{NAMELESS}")
    await cell.queue("stopped", number=NAMELESS)
    await cell.queue("unserved", number=UNSERVED)
    await cell.queue(*(f"b{i}" for i in range(1234)), number=OTHER, priority="bulk")
    await cell.set_gate(NUMBER, rate=80)
    await cell.set_gate(OTHER, rate=1000, streak=3, why="throttled", until=await cell.now() + 240 * SECOND_US)


def read(said: Said, width: int) -> str:
    """What was said, as words; it must fit the width."""
    assert (said.code, [line for line in said.out.splitlines() if len(line) > width]) == (0, []), said.out
    return " ".join(said.out.split())


def test_numbers_fit_and_say_what_holds_them(commands: Commands, width: int) -> None:
    commands.arrange(troubled)
    found = read(commands.run("numbers"), width)
    assert "campaigns" in found
    assert re.search(r" 1,234 in 4 min blocked .*blocked for another 4 min: throttled, 3 times in a row", found)
    assert re.search(rf"{NAMELESS} .*1 held .*stopped by number:{NAMELESS}, .* ago, by tests: a test", found)
    assert re.search(rf"{LONG_NAME} .*1 held .*no worker .*no worker has its token", found)
    assert re.search(rf"parked 1 by template:{WABA}:shipped, .* ago, by tests: a test$", found)
    assert (OTHER in found) == (" oldest " in found) == (width == 140)


def test_a_cell_fits_and_says_what_needs_somebody(commands: Commands, width: int) -> None:
    commands.arrange(troubled)
    found = read(commands.run("status"), width)
    assert "workers 1 alive: process-1 " in found
    assert f"parked 1 by template:{WABA}:shipped" in found
    assert re.search("dead 1; `dispatcher events --type dead` .* since the cell began: 1 rejected ", found)
    assert re.search(f"number:{NAMELESS} hold .* ago when lifted tests a test ", found)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (
            "dead",
            "state dead: rejected why Meta refused it for good error 132001 Template name does not exist attempts 1 ",
        ),
        ("parked", rf"state queued why stopped by template:{WABA}:shipped, .* ago, by tests: a test attempts 0 "),
        ("stopped", rf"why stopped by number:{NAMELESS}, .* ago, by tests: a test "),
        ("unserved", "why no worker has the token of its number: start one"),
        ("b7", "why its number is blocked for another 4 min: throttled "),
        (
            "uncertain",
            r"why it may have reached Meta, .* a worker decides in \d+ s whether to send it again attempts 1 ",
        ),
    ],
)
def test_a_message_says_why_it_is_where_it_is(commands: Commands, width: int, key: str, says: str) -> None:
    commands.arrange(troubled)
    assert re.search(says, read(commands.run("status", key), width))


def test_machines_learn_when_an_uncertain_message_is_decided(commands: Commands) -> None:
    commands.arrange(troubled)
    assert commands.json("status", "dead")["decides_at"] is None
    decided_us = commands.arrange(lambda cell: cell.score("uncertain", "uncertain"))
    assert decided_us is not None
    found = commands.json("status", "uncertain")["decides_at"]
    assert re.match(r"\d{4}-\d\d-\d\dT", found)
    assert f"{decided_us % SECOND_US:06}".rstrip("0") in found


def test_an_uncertain_message_outlives_a_set_that_is_not_ours(commands: Commands) -> None:
    async def spoil(cell: Cell) -> None:
        await troubled(cell)
        await cell.redis.set(cell.key("uncertain"), "x")

    commands.arrange(spoil)
    found = commands.json("status", "uncertain")
    assert (found["state"], found["decides_at"]) == ("uncertain", None)


# tables by themselves


def test_a_table_gives_up_extra_columns_before_it_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (Column("number"), Column("id", extra=True), Column("count", right=True), Column("by", extra=True))
    rows = [TableRow(("n" * 20, "1" * 15, 1234, "b" * 20), [Styled("a reason of a few words")])]

    def drawn(columns_wide: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns_wide))
        table(columns, rows, below="reason")
        return capsys.readouterr().out.splitlines()

    number, by, said = "n" * 20, "b" * 20, "a reason of a few words"
    assert drawn(100)[1:] == [f"{number}  {'1' * 15}  1,234  {by}  {said}"]
    assert drawn(70)[1:] == [f"{number}  {'1' * 15}  1,234  {by}", f"  {said}"]
    assert drawn(50)[1:] == [f"{number}  {'1' * 15}  1,234", f"  {said}"]
    assert drawn(30) == [f"{'number':<20}  count", f"{number}  1,234", f"  {said}"]
    assert drawn(20) == ["number", "  count", number, "  1,234", "  a reason of a few", "  words"]


def test_an_id_that_is_too_long_for_its_place_stands_below_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    sheet([("wamid", "w" * 38), ("nothing", ""), ("error", "132001 a text of words that is wrapped")])
    assert capsys.readouterr().out.splitlines() == [
        "wamid",
        "  " + "w" * 38,
        "error  132001 a text of words that is",
        "       wrapped",
    ]


def test_a_text_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    sheet([("error", "a\x1b[2Jb\nc")])
    assert capsys.readouterr().out == "error  a [2Jb c\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "under 1 s"), (1, "1 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d"),
     (1e8, "1,157 d")],
)  # fmt: skip
def test_a_length_of_time_has_one_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_an_age_looks_both_ways() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert [age(at, now) for at in (None, now - timedelta(minutes=3), now + timedelta(seconds=9))] == [
        "",
        "3 min ago",
        "in 9 s",
    ]
