"""`status` without a key, `status --refused` and `numbers`: how the cell stands."""

import json
import re
from typing import Any

import pytest

from dispatcher.meta.webhook import Unreadable
from dispatcher.store import cell as cells
from dispatcher.store import numbers, receipts, work
from tests.cli.conftest import Commands
from tests.store.cell import NUMBER, OTHER, OWNER, TOKEN, WABA, Cell, published, template

OPEN = {"state": "open", "why": "", "until": None}
NONE = {
    "sending": 0, "uncertain": 0, "parked": 0, "parked_by_scope": {}, "dead": 0, "intake": 0, "refused": 0, "webhooks": 0,
    "unreadable": 0,
}  # fmt: skip
CAMPAIGNS = {
    "id": OTHER,
    "name": "campaigns",
    "rate_per_s": 1000.0,
    "waba_id": "",
    "waiting": {"urgent": 0, "normal": 0, "bulk": 0},
    "wait_s": {"urgent": 0.0, "normal": 0.0, "bulk": 0.0},
    "gate": OPEN,
    "stops": [],
    "workers": [],
    "served_by": "",
}
OTP = {**CAMPAIGNS, "id": NUMBER, "name": "otp-us", "rate_per_s": 80.0, "waba_id": WABA}


def test_an_empty_cell(commands: Commands) -> None:
    found = commands.json("status")
    assert found.pop("at").endswith("Z")
    assert found == {
        "cell": "main", "processes": [], "doors": 0, "counts": NONE, "dead_by_code": {}, "died": {}, "stops": [], "numbers": [],
    }  # fmt: skip
    said = commands.run("status")
    assert (said.code, said.err) == (
        0,
        "dispatcher: no numbers registered in cell main: start a worker or give DISPATCHER_NUMBERS_FILE to "
        "`dispatcher send`",
    )
    assert "none alive: start one with `dispatcher worker`" in said.out


def test_status_says_of_which_codes_the_dead_died(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        for key, error in (("a", "132001 no such template"), ("b", "132001 no such template"), ("c", "131008")):
            await cell.settle(await cell.claimed(key, number=OTHER), "reject", "rejected", error=error)
        await cell.settle(await cell.claimed("d", number=OTHER), "reject", "rejected", error="without a code")

    commands.register()
    commands.arrange(arrange)
    assert commands.json("status")["dead_by_code"] == {"132001": 2, "131008": 1, "rejected": 1}
    assert "2 132001, 1 131008, 1 rejected" in " ".join(commands.run("status").out.split())


def test_everything_that_waits_is_counted(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        await cell.queue("u1", priority="urgent")
        await cell.queue("b1", "b2", priority="bulk")
        await cell.claimed("sending", number=OTHER)
        uncertain = await cell.claimed("uncertain", number=OTHER)
        await cell.settle(uncertain, "uncertain")
        await cell.settle(
            await cell.claimed("dead", number=OTHER), "reject", "rejected", error="132001 no such template"
        )
        await cell.stop("template::shipped")
        await cell.queue("parked", number=OTHER, content=template("shipped"))
        await cell.claim_all(OTHER, waba_id="")
        await cell.run(work.announce, OWNER, dict.fromkeys([NUMBER], TOKEN))
        await cell.run(work.tend, OWNER)
        await cell.redis.zadd(cell.cell.intake, {"job": 1})
        await cell.redis.lpush(cell.key("refused"), "{}")
        await cell.run(receipts.keep_unreadable, [Unreadable("no JSON", "x", is_receipt=True)])
        await cell.redis.xadd(cell.key("webhooks"), {"body": "{}"})

    commands.register()
    commands.arrange(arrange)
    found = commands.json("status")
    assert found["counts"] == {**dict.fromkeys(NONE, 1), "parked_by_scope": {"template::shipped": 1}}
    assert (found["dead_by_code"], found["died"]) == ({"132001": 1}, {"rejected": 1})
    assert (found["processes"], found["stops"]) == ([OWNER], ["template::shipped"])
    assert [number["waiting"] for number in found["numbers"]] == [
        {"urgent": 1, "normal": 0, "bulk": 2},
        {"urgent": 0, "normal": 0, "bulk": 0},
    ]
    first = found["numbers"][0]
    wait_s = first.pop("wait_s")
    without_wait = {name: value for name, value in OTP.items() if name != "wait_s"}
    assert first == {**without_wait, "waiting": {"urgent": 1, "normal": 0, "bulk": 2}, "workers": [OWNER]}
    refill = 0.96 * 80
    assert [wait_s[lane] for lane in ("urgent", "normal", "bulk")] == pytest.approx(
        [1 / refill, 1 / refill, 3 / refill], abs=0.001
    )


def test_a_number_says_who_serves_it_until_the_lease_ends(commands: Commands) -> None:
    commands.register()
    commands.arrange(lambda cell: cell.own())
    assert commands.json("numbers", "show", "otp-us") == {**OTP, "served_by": OWNER}
    commands.arrange(lambda cell: cell.end_ownership())
    assert commands.json("numbers", "show", "otp-us") == OTP


def test_a_gate_is_open_blocked_or_on_trial(commands: Commands) -> None:
    async def block(cell: Cell) -> None:
        await cell.set_gate(streak=2, why="throttled", until=4_070_905_200_000_000)

    def gate() -> Any:
        return commands.json("numbers", "show", NUMBER)["gate"]

    commands.register()
    assert gate() == OPEN
    commands.arrange(block)
    assert gate() == {"state": "blocked", "why": "throttled", "until": "2098-12-31T23:00:00Z"}
    assert re.search(r"blocked for another [\d,]+ d: throttled, 2 times in a row", commands.run("numbers").out)
    commands.arrange(lambda cell: cell.end_block())
    assert gate() == {"state": "half_open", "why": "throttled", "until": None}


def test_a_number_names_the_stops_that_hold_it(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        await cell.set_gate(token="abc")
        for scope in (f"lane:{NUMBER}:bulk", f"waba:{WABA}", "credential:abc", f"number:{OTHER}", "campaign:spring"):
            await cell.stop(scope)

    commands.register()
    commands.arrange(arrange)
    assert [number["stops"] for number in commands.json("numbers")] == [
        ["credential:abc", f"lane:{NUMBER}:bulk", f"waba:{WABA}"],
        [f"number:{OTHER}"],
    ]


def test_a_stop_that_is_over_holds_nothing(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        await cell.redis.hset(cell.key("stops"), "all", json.dumps({"action": "hold", "until": 1_000_000}))

    commands.register()
    commands.arrange(arrange)
    assert (commands.json("status")["stops"], commands.json("numbers")) == ([], [OTP, CAMPAIGNS])


def test_what_is_not_ours_in_redis_does_not_hide_the_rest(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        await cell.queue("k1")
        for name in (cell.cell.gate(NUMBER), cell.cell.lanes(NUMBER)[2], cell.key("dead"), cell.key("refused")):
            await cell.redis.set(name, "x")
        await cell.redis.hset(cell.key("numbers"), OTHER, "x")

    commands.register()
    commands.arrange(arrange)
    found = commands.json("status")
    assert found["counts"] == NONE
    assert found["numbers"] == [
        {
            **OTP, "rate_per_s": 0.0, "waiting": {"urgent": 0, "normal": 1, "bulk": 0},
            "wait_s": {"urgent": 0.0, "normal": None, "bulk": None},
        },
        {**CAMPAIGNS, "name": ""},
    ]  # fmt: skip


def test_many_numbers_are_all_seen(commands: Commands) -> None:
    async def arrange(cell: Cell) -> list[int]:
        names = [str(10_000 + place) for place in range(1201)]
        await cell.run(numbers.publish, (published(name, f"n{name}", 1.0, "") for name in names))
        await cell.run(work.announce, OWNER, dict.fromkeys(names[::2], TOKEN))
        await cell.run(work.tend, OWNER)
        found = await cell.run(cells.overview)
        return [len(number.able) for number in found.numbers]

    assert commands.arrange(arrange) == [1, 0] * 600 + [1]


def test_refused_jobs_are_listed_without_what_they_held(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        entry = {"job": "j1", "reason": "unreadable: no JSON", "at": "2026-11-22T15:00:00+00:00", "size": 7}
        await cell.redis.lpush(cell.key("refused"), json.dumps({**entry, "given": "a secret"}), "rubbish")

    assert commands.json("status", "--refused") == []
    assert commands.run("status", "--refused").err == "dispatcher: no job was refused"
    commands.arrange(arrange)
    assert commands.json("status", "--refused") == [
        {"job": "", "reason": "unreadable", "at": "", "size": 0},
        {"job": "j1", "reason": "unreadable: no JSON", "at": "2026-11-22T15:00:00+00:00", "size": 7},
    ]
    assert "unreadable: no JSON" in commands.run("status", "--refused").out


def test_what_could_not_be_read_of_webhooks_is_listed(commands: Commands) -> None:
    async def arrange(cell: Cell) -> None:
        await cell.run(receipts.keep_unreadable, [Unreadable("no status", '{"id":1}', is_receipt=True)])

    assert commands.json("status", "--unreadable") == []
    assert commands.run("status", "--unreadable").err == "dispatcher: everything could be read"
    commands.arrange(arrange)
    [found] = commands.json("status", "--unreadable")
    assert (found["reason"], found["raw"]) == ("no status", '{"id":1}')
    said = commands.run("status", "--unreadable")
    assert "no status" in said.out
    assert '{"id":1}' not in said.out


def test_a_key_and_the_refused_jobs_are_two_questions(commands: Commands) -> None:
    said = commands.run("status", "k1", "--refused")
    assert said.code == 2
    assert "give only one of a key, --refused and --unreadable" in " ".join(said.err.split())


def test_numbers_lists_them_all(commands: Commands) -> None:
    assert commands.json("numbers") == []
    commands.register()
    assert commands.json("numbers") == commands.json("numbers", "show") == [OTP, CAMPAIGNS]
    said = commands.run("numbers")
    titles, first, _ = said.out.splitlines()
    assert titles.split() == ["number", "id", "rate/s", "urgent", "normal", "bulk", "state", "workers", "WABA"]
    assert first.split() == ["otp-us", NUMBER, "80", "0", "0", "0", "no", "worker", "0", WABA]
    assert said.err == "dispatcher: no worker is alive: start one with `dispatcher worker`"


def test_the_rate_that_is_shown_is_the_one_that_holds(commands: Commands) -> None:
    """Whatever the file says that this command publishes."""
    commands.register()
    commands.arrange(lambda cell: cell.set_gate(rate=33.5))
    commands.register()
    assert commands.json("numbers", "show", NUMBER)["rate_per_s"] == 33.5
    assert [number["rate_per_s"] for number in commands.json("status")["numbers"]] == [33.5, 1000]


def test_an_unknown_number_cannot_be_shown(commands: Commands) -> None:
    commands.register()
    said = commands.run("numbers", "show", "otp-uk")
    assert (said.code, said.err) == (
        1,
        "dispatcher: number: otp-uk is not a number of cell main, did you mean otp-us?",
    )


def test_json_goes_behind_the_command_it_is_for(commands: Commands) -> None:
    said = commands.run("numbers", "--json", "show")
    assert said.code == 2
    assert "put --json after show" in said.err
