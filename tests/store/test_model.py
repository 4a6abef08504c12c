"""The lanes against a plain model: whatever order things happen in, the books say what became of every message."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from dispatcher.message.message import Message
from dispatcher.message.priority import LANE_OF
from dispatcher.policy.bucket import Room
from dispatcher.store import queue, stops, work
from dispatcher.store.embedded import Server
from dispatcher.store.work import Claimed, Decided, Settlement
from tests.store.cell import (
    HOUR_US,
    LEASES,
    NUMBER,
    OTHER,
    RATE,
    SECOND_US,
    TOKEN,
    WABA,
    Cell,
    bucket_size,
    keys_of,
    message,
    settlement,
    template,
    text,
    unpacked,
)

T = TypeVar("T")
PRIORITIES = ("urgent", "normal", "bulk")
PROCESSES = ("process-1", "process-2")
TO = "+15551234567"
NUMBERS = (NUMBER, OTHER)
SCOPES = (
    "all", f"number:{NUMBER}", f"waba:{WABA}", f"credential:{TOKEN}", f"lane:{NUMBER}:urgent", f"lane:{OTHER}:normal",
    f"template:{WABA}:shipped", "campaign:spring",
)  # fmt: skip
OUTCOMES = ("accepted", "retry", "snooze", "release", "release", "release", "reject", "uncertain", "in_flight")
FORWARD = ("accepted", "sent", "delivered", "read", "played")
WHYS = (("throttled", ""), ("credential", "another token"), ("credential", TOKEN))
TRIES = (0, 9, 9)
CELLS = itertools.count(1)
# All that the invariants compare, in one look: sets by their order, records and bodies, gates, due.
LOOK = """
local prefix, asked = ARGV[1], cjson.decode(ARGV[2])
local found = {sets = {}, records = {}, bodies = {}, gates = {}, due = {}, now = redis.call('TIME')}
found.campaign = redis.call('HGETALL', prefix .. 'campaign:spring')
for _, name in ipairs(asked.sets) do found.sets[name] = redis.call('ZRANGE', prefix .. name, 0, -1) end
for _, key in ipairs(asked.keys) do
  local hash = redis.pcall('HGETALL', prefix .. 'msg:' .. key)
  found.records[key] = hash.err and redis.call('GET', prefix .. 'msg:' .. key) or hash
  found.bodies[key] = redis.call('EXISTS', prefix .. 'body:' .. key)
end
for _, number in ipairs(asked.numbers) do
  found.gates[number] = redis.call('HGETALL', prefix .. 'gate:' .. number)
  found.due[number] = redis.call('ZSCORE', prefix .. 'due', number)
end
return cjson.encode(found)
"""
SETS = [
    "sending", "uncertain", "expiry", "dead", *(f"parked:{scope}" for scope in SCOPES),
    *(f"lane:{number}:{lane}" for number in NUMBERS for lane in range(3)),
]  # fmt: skip

names = st.integers(0, 19).map("k{:02}".format)
newer_names = st.integers(20, 29).map("k{:02}".format)
recipients = st.sampled_from((TO, TO, TO, "+15551230001"))
numbers = st.sampled_from((NUMBER, NUMBER, OTHER))
processes = st.sampled_from(PROCESSES)
scopes = st.sampled_from(SCOPES)
places = st.integers(0, 3)


def pairs(flat: list[str]) -> dict[str, str]:
    flat = flat or []  # Lua's empty list is an object
    return dict(zip(flat[::2], flat[1::2], strict=True))


def described(name: str, number: str, lane: int, kind: int, to: str = TO, replaces: str | None = None) -> Message:
    return message(
        name,
        number=number,
        to=to,
        replaces=replaces if replaces != name else None,
        priority=PRIORITIES[lane],
        content=template() if kind % 2 else text(),
        campaign="spring" if kind in {2, 3} else None,
        not_before="2222-01-01T00:00:00Z" if kind == 4 else None,
    )


@dataclass
class Kept:
    """What the model knows of a message."""

    message: Message
    lane: int
    due: int
    place: int
    expired: bool = False
    state: str = "queued"
    parked: str = ""
    claim: int = 0
    attempts: int = 0
    lapses: int = 0
    cancelled: bool = False
    replaced: bool = False
    has_body: bool = True
    postponed: bool = False
    wamids: list[str] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)
    failed: int = 0

    @property
    def number(self) -> str:
        return self.message.number

    @property
    def template(self) -> str:
        return str(self.message.content["template"]["name"]) if self.message.content["type"] == "template" else ""

    @property
    def sets(self) -> set[str]:
        """Where its state says that it is listed."""
        if self.state == "queued":
            return {f"parked:{self.parked}" if self.parked else f"lane:{self.number}:{self.lane}", "expiry"}
        if self.state in {"sending", "uncertain"}:
            return {self.state, "expiry"}
        return {"dead"} if self.state == "dead" else set()


@dataclass
class Gate:
    """What the model knows of a number's gate."""

    streak: int = 0
    doubts: int = 0
    closed_at: int = 0
    blocked: bool = False
    why: str = ""
    probing: bool = False

    @property
    def bars_our_token(self) -> bool:
        return self.streak > 0 and self.why == "own" and self.blocked

    def allows(self, tokens: int) -> int:
        if self.streak == 0 or self.why == "foreign":
            return tokens
        return 0 if self.blocked or self.probing else min(tokens, 1)


@dataclass(frozen=True)
class Handed:
    """A message as some claim once handed it out."""

    claimed: Claimed
    number: str
    at: int


def as_settled(handed: Handed, outcome: str, value: str | int, gate: str, why: tuple[str, str]) -> Settlement:
    return settlement(
        handed.claimed, outcome, number=handed.number, claimed_us=handed.at, value=value, error="131000 a test",
        gate=gate, gate_for_us=HOUR_US if gate else 0, why=why[0], credential=why[1],
    )  # fmt: skip


class Lanes(RuleBasedStateMachine):
    """Rules act on the server and on the model alike; the invariants compare the two."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Any = Redis.from_url(self.server.url, protocol=2)
        self.cell = Cell(self.redis, replace(LEASES, name=f"model-{next(CELLS)}"))
        self.kept: dict[str, Kept] = {}
        self.gates = {number: Gate() for number in NUMBERS}
        self.owners: dict[str, str | None] = dict.fromkeys(NUMBERS)
        self.stops: dict[str, str] = {}
        self.sequence = 0
        self.last: dict[tuple[str, str], tuple[int, list[Claimed]]] = {}
        self.claimed_by: dict[str, str] = {}
        self.handed: list[Handed] = []
        self.told: list[tuple[str, str]] = []
        self.told_till = b"-"
        for process in PROCESSES:
            self.run(self.cell.run(work.announce, process, dict.fromkeys(NUMBERS, TOKEN)))

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()

    # producers

    @rule(
        given=st.lists(
            st.builds(described, names, numbers, st.integers(0, 2), st.integers(0, 7), recipients, st.none() | names),
            min_size=1,
            max_size=4,
        )
    )
    def enqueue(self, given: list[Message]) -> None:
        found = self.run(self.cell.enqueue(*given))
        for entry, each in zip(found, given, strict=True):
            name = str(each.key)
            known = self.kept.get(name)
            if known is None:
                assert (entry.word, entry.state) == ("queued", "queued")
                due = int(self.run(self.cell.record(name))["due"])
                self.kept[name] = Kept(each, LANE_OF[each.priority], due, due)
                self.expect_replaced(each)
            else:
                same = (known.message.content, known.message.to) == (each.content, each.to)
                assert (entry.word, entry.state) == ("duplicate" if same else "conflict", known.state)

    @rule(name=newer_names, number=numbers, data=st.data())
    def replace(self, name: str, number: str, data: st.DataObject) -> None:
        """Something newer instead of what is parked, under way or uncertain; what waits in a lane, `enqueue` replaces."""
        parked = [each for each, kept in self.kept.items() if kept.parked]
        under_way = [each for each, kept in self.kept.items() if kept.state in {"sending", "uncertain"}]
        older = data.draw(st.sampled_from(parked or under_way or ["unknown"]))
        to = self.kept[older].message.to if older in self.kept else TO
        self.enqueue([described(name, number, 0, 0, to, older)])

    @rule(name=names, data=st.data())
    def cancel(self, name: str, data: st.DataObject) -> None:
        under_way = [each for each, kept in self.kept.items() if kept.state == "sending"]
        name = data.draw(st.sampled_from([name, *under_way]))
        found = self.run(self.cell.run(queue.cancel, name))
        kept = self.kept.get(name)
        if kept is None:
            assert found == ("unknown", "")
        elif kept.state == "queued":
            assert found == ("cancelled", "queued")
            self.end(name, "cancelled")
        elif kept.state in {"sending", "uncertain"}:
            assert found == ("marked", kept.state)
            kept.cancelled = True
        else:
            assert found == ("settled", kept.state)

    # workers

    def take(self, process: str) -> None:
        now = self.run(self.cell.now())
        due = {number for number in NUMBERS if (at := self.due_of(number)) is not None and at <= now}
        _, taken = self.run(self.cell.run(work.take, process))
        barred = {number for number in NUMBERS if self.gates[number].bars_our_token}
        # what became due between the two looks may be taken as well
        assert due - barred <= set(taken) <= set(NUMBERS) - barred
        for number in taken:
            self.owners[number] = process

    @rule(process=processes, number=numbers, tokens=st.integers(0, 4), room=places, more=st.tuples(places, places))
    def claim(self, process: str, number: str, tokens: int, room: int, more: tuple[int, int]) -> None:
        if self.owners[number] is None:
            self.take(process)
        rooms = Room(urgent=room + sum(more), normal=room + more[0], bulk=room)
        self.run(self.cell.fix_tokens(tokens, number))
        self.sequence += 1
        asking = self.cell.asking(number, owner=process, sequence=self.sequence, room=rooms)
        batch = self.run(self.cell.ask(asking))
        if self.owners[number] != process:
            assert (batch.state, batch.messages) == ("lost", [])
            return
        self.claimed_by[number] = process
        expected, put_aside = self.expect_claim(number, self.gates[number].allows(tokens), rooms)
        assert keys_of(batch.messages) == expected
        assert (batch.expired, batch.cancelled, batch.parked) == tuple(
            put_aside[word] for word in ("expired", "cancelled", "parked")
        )
        gate = self.gates[number]
        assert batch.streak == gate.streak
        if gate.streak and gate.why != "foreign" and expected:
            gate.probing = True
            self.run(self.cell.set_gate(number, probe=self.run(self.cell.now()) + HOUR_US))  # nor does the trial
        for claimed in batch.messages:
            kept = self.kept[claimed.key]
            kept.state, kept.claim = "sending", kept.claim + 1
            assert (claimed.claim, claimed.attempts, claimed.priority) == (kept.claim, kept.attempts, kept.lane)
            self.handed.append(Handed(claimed, number, batch.claimed_at_us))
        assert float(self.run(self.cell.gate(number))["tokens"]) == tokens - len(expected)
        if batch.messages:
            self.last[process, number] = (self.sequence, batch.messages)
        assert batch.state in {"kept", "released"}
        assert batch.wait_s <= 0.05
        if batch.state == "released":
            self.owners[number] = None

    def claim_plenty(self, number: str = NUMBER) -> None:
        """By whoever serves the number, as much as a full bucket holds."""
        self.claim(self.owners[number] or PROCESSES[0], number, 4, 3, (1, 1))

    @rule(process=processes, number=numbers)
    def claim_again(self, process: str, number: str) -> None:
        """The answer was lost: the same sequence brings the same messages, whoever serves the number by now."""
        self.echo_of_a_claim(number)
        if (process, number) not in self.last:
            return
        sequence, messages = self.last[process, number]
        batch = self.run(self.cell.claim(number, owner=process, sequence=sequence))
        still = [m for m in messages if (k := self.kept[m.key]).state == "sending" and k.claim == m.claim]
        assert [(m.key, m.claim, m.body) for m in batch.messages] == [(m.key, m.claim, m.body) for m in still]
        owner = self.owners[number]
        assert batch.state == ("released" if owner is None else "kept" if owner == process else "lost")

    def echo_of_a_claim(self, number: str) -> None:
        """A claim that was stuck on its way for long brings nothing."""
        if process := self.claimed_by.get(number):
            batch = self.run(self.cell.claim(number, owner=process, sequence=0))
            assert batch.messages == []

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def settle_one(self, data: st.DataObject) -> None:
        self.settle(data, 1)

    @precondition(lambda self: self.handed)
    @rule(data=st.data(), size=st.integers(2, 6))
    def settle(self, data: st.DataObject, size: int) -> None:
        """Any claim there ever was, again and again, whatever has become of it."""
        entries = []
        doubtful = size > 2 and data.draw(st.booleans())
        for _ in range(size):
            back = data.draw(st.one_of(st.integers(0, 2), st.integers(0, 20)))
            handed = self.handed[-1 - min(back, len(self.handed) - 1)]
            outcome = data.draw(st.sampled_from(OUTCOMES))
            gate = "doubt" if doubtful else data.draw(st.sampled_from(("", "", "", "close", "doubt", "open")))
            if gate == "doubt":
                outcome = "uncertain"
            value: str | int = ""
            if outcome == "accepted":
                value = f"wamid.{data.draw(st.integers(1, 2))}"
            elif outcome in {"retry", "snooze"}:
                delays: tuple[str | int, ...] = (0, HOUR_US) if outcome == "retry" else ("", 0, HOUR_US)
                value = data.draw(st.sampled_from(delays))
            elif outcome == "in_flight":
                value = HOUR_US
            entries.append(as_settled(handed, outcome, value, gate, data.draw(st.sampled_from(WHYS))))
        self.settle_all(entries)

    @precondition(lambda self: self.over)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES[1:-1]))
    def settle_what_was_claimed_again_since(self, data: st.DataObject, outcome: str) -> None:
        handed = data.draw(st.sampled_from(self.over))
        self.settle_all([as_settled(handed, outcome, 0 if outcome in {"retry", "snooze"} else "", "", WHYS[0])])

    @precondition(lambda self: self.under_way)
    @rule()
    def nothing_answers(self) -> None:
        self.settle_all([as_settled(handed, "uncertain", "", "doubt", WHYS[0]) for handed in self.under_way])

    @property
    def over(self) -> list[Handed]:
        """Claims of messages that are in somebody's hands by a later claim."""
        return [
            handed
            for handed in self.handed
            if (kept := self.kept[handed.claimed.key]).state in {"sending", "uncertain"}
            and kept.claim > handed.claimed.claim
        ]

    @property
    def under_way(self) -> list[Handed]:
        return [
            handed
            for handed in self.handed
            if (kept := self.kept[handed.claimed.key]).state == "sending" and kept.claim == handed.claimed.claim
        ]

    def settle_all(self, entries: list[Settlement]) -> None:
        before = self.run(self.cell.now())
        words = self.run(self.cell.run(work.settle, entries))
        closed = {number: int(self.run(self.cell.gate(number)).get("closed", 0)) for number in NUMBERS}
        for entry, word in zip(entries, words, strict=True):
            assert word == self.expect_settled(entry)
            self.expect_turned(entry, word, closed[entry.number])
        self.read_places(before, self.run(self.cell.now()), entries)

    @precondition(lambda self: any(kept.expired and "expiry" in kept.sets for kept in self.kept.values()))
    @rule(process=processes)
    def tend(self, process: str) -> None:
        tended = self.run(self.cell.run(work.tend, process))
        decided: Decided = self.run(self.cell.run(work.decide))
        assert not any(decided)
        assert (tended.uncertain, tended.lapsed, tended.expired, tended.held, tended.lost) == self.expect_tended(set())
        assert not tended.unknown
        assert not tended.more

    @rule(process=processes, number=numbers, how=st.sampled_from(("take", "release", "end")))
    def ownership_changes(self, process: str, number: str, how: str) -> None:
        if how == "take":
            self.take(process)
        elif how == "release":
            self.release(process, {number})
        elif self.owners[number]:
            self.run(self.cell.end_ownership(number))

    def release(self, process: str, which: set[str]) -> None:
        mine = [number for number in sorted(which) if self.owners[number] == process]
        assert self.run(self.cell.run(work.release, process, sorted(which))) == len(mine)
        for number in mine:
            self.owners[number] = None

    # webhooks

    @precondition(lambda self: self.handed)
    @rule(data=st.data(), status=st.sampled_from((*FORWARD[1:], "failed", "failed")), passes=st.booleans())
    def receipt(self, data: st.DataObject, status: str, passes: bool) -> None:
        """Of any claim there ever was, in any order, again and again."""
        handed = data.draw(st.sampled_from(self.handed))
        wamid = f"wamid.{data.draw(st.integers(1, 2))}"
        code = 131000 if passes else 131026
        key, claim = handed.claimed.key, handed.claimed.claim
        found = self.run(
            self.cell.receipt(key, status, claim, wamid=wamid, number=handed.number, code=code, error=f"{code} a test")
        )
        assert found == self.expect_receipt(key, claim, wamid, status, passes)

    # operators

    @rule(scope=scopes, action=st.sampled_from(("hold", "hold", "hold", "cancel")), name=names)
    def stop(self, scope: str, action: str, name: str) -> None:
        self.enqueue([described(name, NUMBER, 0, 3)])
        self.run(self.cell.stop(scope, action))
        self.stops[scope] = action
        self.claim_plenty()

    @rule(scope=scopes)
    def lift(self, scope: str) -> None:
        assert not self.run(self.cell.run(stops.unpark)).more
        self.expect_unparked()
        assert self.run(self.cell.run(stops.lift, scope, NUMBERS)) == (self.stops.pop(scope, None) is not None)
        self.expect_unparked()
        self.claim_plenty()

    # time

    @precondition(lambda self: any(kept.state == "sending" for kept in self.kept.values()))
    @rule(data=st.data())
    def lease_of_a_message_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, kept in self.kept.items() if kept.state == "sending"]))
        self.run(self.cell.end_lease(name))
        tended = self.run(self.cell.run(work.tend, PROCESSES[0]))
        assert (tended.uncertain, tended.lapsed, tended.expired, tended.held, tended.lost) == self.expect_tended({name})

    @precondition(lambda self: any("expiry" in kept.sets for kept in self.kept.values()))
    @rule(data=st.data())
    def time_to_live_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, kept in self.kept.items() if "expiry" in kept.sets]))
        self.run(self.cell.end_time(name))
        self.kept[name].expired, self.kept[name].postponed = True, False

    @precondition(lambda self: any(gate.streak for gate in self.gates.values()))
    @rule(number=numbers, given=st.lists(names, max_size=3))
    def block_ends(self, number: str, given: list[str]) -> None:
        gate = self.run(self.cell.gate(number))
        till = max(int(gate.get("until", 0)), int(gate.get("probe", 0)))
        self.run(self.cell.end_block(number))
        self.gates[number].blocked = self.gates[number].probing = False
        self.pull_due(number, max(0, till - self.run(self.cell.now())))
        self.enqueue([described(name, number, 0, 0) for name in given])
        self.claim_plenty(number)
        self.claim_plenty(number)

    @precondition(lambda self: any(kept.place > kept.due for kept in self.kept.values()))
    @rule(data=st.data())
    def what_was_later_becomes_due(self, data: st.DataObject) -> None:
        now = self.run(self.cell.now())
        later = [n for n, k in self.kept.items() if k.state == "queued" and not k.parked and k.place > now]
        if later:
            kept = self.kept[name := data.draw(st.sampled_from(later))]
            self.pull_due(kept.number, kept.place - now)
            kept.place = now - 1
            self.run(self.redis.zadd(self.cell.cell.lane(kept.number, kept.lane), {name: kept.place}))

    def pull_due(self, number: str, by_us: int) -> None:
        """Time passes for a number that nobody owns: its next look comes nearer by as much."""
        at = self.due_of(number)
        if at is not None and self.owners[number] is None:
            self.run(self.redis.zadd(self.cell.key("due"), {number: at - by_us - 2}))

    def due_of(self, number: str) -> int | None:
        return self.run(self.cell.score("due", number))

    # the model

    def end(self, name: str, state: str) -> None:
        kept = self.kept[name]
        kept.state, kept.parked = state, ""
        kept.replaced = kept.replaced and state != "accepted"  # an acceptance that comes late wins, and has no cause
        # a dead one waits for a person, an accepted one may still fail; a late code is of no use
        kept.has_body = kept.has_body and (state == "dead" or (state == "accepted" and kept.lane > 0))
        self.told.append((state, name))

    def expect_replaced(self, newer: Message) -> None:
        older = self.kept.get(newer.replaces or "")
        if older is None or older.message.to != newer.to:
            return
        if older.state == "queued":
            older.replaced = True
            self.end(str(newer.replaces), "cancelled")
        elif older.state in {"sending", "uncertain"}:
            older.cancelled = True

    def action_on(self, number: str, lane: int) -> str:
        wide = ("all", f"number:{number}", f"waba:{WABA}", f"credential:{TOKEN}", f"lane:{number}:{PRIORITIES[lane]}")
        actions = {self.stops[scope] for scope in wide if scope in self.stops}
        return "cancel" if "cancel" in actions else "hold" if actions else "look"

    def stop_of(self, kept: Kept) -> tuple[str, str]:
        """The stop that covers one message by its labels: its action and its scope."""
        for scope in (f"template:{WABA}:{kept.template}", f"campaign:{kept.message.campaign}"):
            if scope in self.stops:
                return self.stops[scope], scope
        return "", ""

    def waiting(self, number: str, lane: int) -> list[str]:
        """The lane, in its order."""
        found = [
            (kept.place, name)
            for name, kept in self.kept.items()
            if kept.state == "queued" and not kept.parked and (kept.number, kept.lane) == (number, lane)
        ]
        return [name for _, name in sorted(found)]

    def expect_claim(self, number: str, free: int, room: Room) -> tuple[list[str], Counter[str]]:
        now = self.run(self.cell.now())
        claimed: list[str] = []
        put_aside: Counter[str] = Counter()
        for lane, places_left in enumerate((room.urgent, room.normal, room.bulk)):
            action = self.action_on(number, lane)
            for name in self.waiting(number, lane):
                kept = self.kept[name]
                if action == "hold" or kept.place > now:
                    break
                if action == "look" and len(claimed) >= min(free, places_left):
                    break
                word, scope = ("cancel", "") if action == "cancel" else self.stop_of(kept)
                if kept.expired:
                    put_aside["expired"] += 1
                    self.end(name, "expired")
                elif word == "cancel":
                    put_aside["cancelled"] += 1
                    self.end(name, "cancelled")
                elif word == "hold":
                    put_aside["parked"] += 1
                    kept.parked = scope
                else:
                    claimed.append(name)
        return claimed, put_aside

    def expect_settled(self, entry: Settlement) -> str:
        key = entry.key
        kept = self.kept[key]
        if entry.outcome == "accepted":
            return self.expect_accepted(entry, kept)
        if entry.outcome == "in_flight":
            if kept.state != "queued" or kept.claim > entry.claim or kept.failed >= entry.claim:
                return ""
            kept.state, kept.parked, kept.postponed = "sending", "", False
            return "sending"
        if kept.state not in {"sending", "uncertain"} or kept.claim != entry.claim:
            return ""
        if entry.outcome == "uncertain" and kept.state == "uncertain":
            return ""
        if entry.outcome not in {"snooze", "release"} and kept.state == "sending":
            kept.attempts += 1
        if entry.outcome == "uncertain":
            kept.state = "uncertain"
            self.told.append(("uncertain", key))
        elif entry.outcome == "reject" or (entry.outcome == "retry" and 0 < TRIES[kept.lane] <= kept.attempts):
            self.end(key, "dead")
        elif kept.cancelled:
            self.end(key, "cancelled")
        else:
            kept.state, kept.place, kept.postponed = "queued", -1, False
            if entry.outcome != "release":
                self.told.append(("retry" if entry.outcome == "retry" else "snoozed", key))
        return kept.state

    def expect_accepted(self, entry: Settlement, kept: Kept) -> str:
        if kept.failed >= entry.claim:
            return ""
        if str(entry.value) in kept.wamids:
            return ""
        kept.wamids.append(str(entry.value))
        if len(kept.wamids) > 1:
            self.told.append(("duplicate", entry.key))
            return "duplicate"
        if kept.state == "sending" and kept.claim == entry.claim:
            kept.attempts += 1
        self.end(entry.key, "accepted")
        return "accepted"

    def expect_turned(self, entry: Settlement, word: str, closed_at: int) -> None:
        gate = self.gates[entry.number]
        if entry.claimed_us <= gate.closed_at:
            return
        gate.probing = False
        doubted = entry.gate == "doubt" and word != ""
        gate.doubts += doubted
        if entry.gate == "close" or (doubted and (gate.streak or gate.doubts == 5)):
            gate.streak, gate.doubts, gate.blocked, gate.closed_at = gate.streak + 1, 0, True, closed_at
            gate.why = {"": "", TOKEN: "own"}.get(entry.credential, "foreign")
        elif entry.gate == "open":
            gate.streak = gate.doubts = 0
            gate.blocked = False

    def expect_receipt(self, key: str, claim: int, wamid: str, status: str, passes: bool) -> str:
        kept = self.kept[key]
        if kept.failed >= claim:
            return ""
        if not kept.wamids:
            kept.attempts += kept.state == "sending" and kept.claim == claim
            self.end(key, "accepted")
            kept.wamids.append(wamid)
        elif wamid not in kept.wamids:
            kept.wamids.append(wamid)
            self.told.append(("duplicate", key))
            return "duplicate"
        elif wamid != kept.wamids[0]:
            return ""
        if status in kept.heard:
            return ""
        kept.heard.add(status)
        self.told.append((status, key))
        if status == "failed" and kept.state in {"accepted", "sent"}:
            self.fail(key, passes)
        elif status in FORWARD and kept.state in FORWARD:
            kept.state = max(kept.state, status, key=FORWARD.index)
            kept.has_body = kept.has_body and status == "sent"
        return kept.state

    def fail(self, key: str, passes: bool) -> None:
        kept = self.kept[key]
        may_go = kept.has_body and not kept.expired and not kept.cancelled
        if not passes or not may_go or 0 < TRIES[kept.lane] <= kept.attempts:
            self.end(key, "dead")
            return
        kept.state, kept.failed, kept.wamids, kept.heard = "queued", kept.claim, [], set()
        kept.postponed = False
        kept.place = self.run(self.cell.score(f"lane:{kept.number}:{kept.lane}", key)) or 0
        assert kept.place > kept.due
        self.told.append(("retry", key))

    def read_places(self, before: int, after: int, entries: Iterable[Settlement]) -> None:
        """What was put back stands at its own place, or as much later as was said."""
        for entry in entries:
            kept = self.kept[entry.key]
            if kept.state == "queued" and not kept.parked and kept.place == -1:
                score = self.run(self.cell.score(f"lane:{kept.number}:{kept.lane}", entry.key))
                assert score is not None
                kept.place = score
                offsets = [int(e.value) for e in entries if e.key == entry.key and e.value in (0, HOUR_US)]
                allowed = [range(before + offset, after + offset + 1) for offset in offsets]
                assert score == kept.due or any(score in window for window in allowed)

    def expect_tended(self, ended: set[str]) -> tuple[int, int, int, int, int]:
        counts: Counter[str] = Counter()
        for name in sorted(ended):
            kept = self.kept[name]
            kept.lapses += 1
            kept.attempts += 1
            if kept.lapses == 3:
                counts["lapsed"] += 1
                self.end(name, "dead")
            else:
                counts["uncertain"] += 1
                kept.state = "uncertain"
                self.told.append(("uncertain", name))
        for name, kept in self.kept.items():
            if kept.expired and kept.state == "queued":
                counts["expired"] += 1
                self.end(name, "expired")
            elif kept.expired and kept.state == "uncertain" and not kept.postponed:
                counts["held"] += 1
                self.end(name, "dead")
            elif kept.expired and kept.state == "sending":
                kept.postponed = True  # until its lease would have ended
        return counts["uncertain"], counts["lapsed"], counts["expired"], counts["held"], 0

    def expect_unparked(self) -> None:
        for name, kept in self.kept.items():
            action = self.stops.get(kept.parked)
            if kept.parked and action == "cancel":
                self.end(name, "cancelled")
            elif kept.parked and action is None:
                kept.parked, kept.place = "", kept.due

    # what must hold after every step

    @invariant()
    def the_books_agree(self) -> None:
        asked = json.dumps({"sets": SETS, "keys": list(self.kept), "numbers": NUMBERS})
        found = json.loads(self.run(self.redis.eval(LOOK, 0, self.cell.cell.prefix, asked)))
        self.everything_is_listed_where_its_state_says(found)
        self.its_messages_are_counted(pairs(found["campaign"]))
        for number in NUMBERS:
            gate = pairs(found["gates"][number])
            due = found["due"][number]
            self.nothing_is_stuck(number, gate, None if not due else int(due), int(found["now"][0]) * 1_000_000)

    def everything_is_listed_where_its_state_says(self, found: dict[str, Any]) -> None:
        listed: dict[str, set[str]] = {name: set() for name in self.kept}
        for name, members in found["sets"].items():
            for member in members:
                listed[member].add(name)
            if name.startswith("lane:"):
                _, number, lane = name.split(":")
                assert list(members) == self.waiting(number, int(lane))
        assert listed == {name: kept.sets for name, kept in self.kept.items()}
        for name, kept in self.kept.items():
            raw = found["records"][name]
            record = unpacked(raw) if isinstance(raw, str) else pairs(raw)
            counts = (record["state"], int(record.get("claim") or 0), int(record.get("attempts") or 0))
            assert counts == (kept.state, kept.claim, kept.attempts)
            assert (record.get("cause") == "replaced") == kept.replaced
            assert found["bodies"][name] == kept.has_body

    def its_messages_are_counted(self, found: dict[str, str]) -> None:
        """Of the campaign, each message once as queued, and each that is settled as what it is now."""
        states = [kept.state for kept in self.kept.values() if kept.message.campaign]
        expected = Counter("accepted" if state in FORWARD else state for state in states)
        for state in ("queued", "sending", "uncertain"):
            del expected[state]
        expected["queued"] = len(states)
        assert {state: int(count) for state, count in found.items() if int(count)} == {
            state: count for state, count in expected.items() if count
        }

    def nothing_is_stuck(self, number: str, gate: dict[str, str], due: int | None, now: int) -> None:
        """R1 to R4: a number with work has its time in `due`, no later than the work can be done."""
        model = self.gates[number]
        assert gate.get("owner") == self.owners[number]
        assert 0 <= float(gate.get("tokens", 0)) <= bucket_size(RATE)
        assert (int(gate.get("streak", 0)), int(gate.get("doubts", 0))) == (model.streak, model.doubts)
        # with another token the block does not bind; who has that token is woken when it is read
        till = max(int(gate.get("until", 0)), int(gate.get("probe", 0))) if model.streak else 0
        if self.owners[number]:
            assert due is not None
            return
        for lane in range(3):
            if waiting := self.waiting(number, lane):
                assert due is not None
                action = self.action_on(number, lane)
                soonest = max(now + SECOND_US, self.kept[waiting[0]].place, till)
                if action != "look":  # held, or held until the hold became a cancel
                    soonest += 30 * SECOND_US
                assert due <= soonest + 50_000

    @invariant()
    def every_outcome_is_told_once(self) -> None:
        entries = self.run(self.redis.xrange(self.cell.key("events"), min=self.told_till))
        found = [(fields[b"type"].decode(), fields[b"key"].decode()) for _, fields in entries]
        assert sorted(found) == sorted(self.told)
        if entries:
            self.told_till = b"(" + entries[-1][0]
        self.told = []

    @invariant()
    def a_claim_number_is_handed_out_once(self) -> None:
        seen = Counter((handed.claimed.key, handed.claimed.claim) for handed in self.handed)
        assert not [claim for claim, times in seen.items() if times > 1]


@pytest.mark.long
@pytest.mark.filterwarnings("default::ResourceWarning")
def test_the_books_agree_with_a_plain_model_whatever_happens(server: Server) -> None:
    machine = type("LanesOnServer", (Lanes,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            # against a server shrinking takes minutes; add Phase.shrink where the steps printed are too many
            phases=(Phase.generate,),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
