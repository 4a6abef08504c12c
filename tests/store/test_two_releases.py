"""Two releases on one cell: what the later one adds to a record survives whatever the earlier one does with it."""

import functools
import hashlib
import json
import random
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis

from dispatcher.store import queue, stops, work
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.scripts import Command, Script, call
from dispatcher.store.work import Claimed
from tests.store.cell import NUMBER, OWNER, Cell, message, text
from tests.store.test_decide import age, all_conditions

ADDED = {"colour": "deep=red", "mood": "calm"}
STEPS = 14
T = TypeVar("T")


class Later(Pipeline):
    """The release after this one: it has a packed field more, `colour`, and a live one, `mood`."""

    async def run(self, command: Command[T]) -> T:
        if command.script is not None:
            script = later(command.script)
            command = replace(command, words=("EVALSHA", script.sha, *command.words[2:]), script=script)
        return await super().run(command)


@functools.cache
def later(made: Script) -> Script:
    if "local FORM" not in made.text:
        return made  # it reads no records
    changes = [
        ("local FORM = '1'", "local FORM = '2'"),
        ("'others', 'rest'}", "'others', 'rest', 'colour'}"),
    ]
    if "local LIVE_ONLY" in made.text:
        changes.append(("'since', 'mark'}", "'since', 'mark', 'mood'}"))
    if made.name == "enqueue":
        fields = ", ".join(f"'{name}', '{value}'" for name, value in ADDED.items())
        changes.append(("'on_uncertain', new.on_uncertain}", f"'on_uncertain', new.on_uncertain, {fields}}}"))
    found = made.text
    for before, after in changes:
        assert found.count(before) == 1, before
        found = found.replace(before, after)
    return replace(made, text=found, sha=hashlib.sha1(found.encode(), usedforsecurity=False).hexdigest())


def late_cell(redis: Redis) -> Cell:
    """The same cell as the later release sees it."""
    cell = Cell(redis)
    cell.pipeline = Later(redis)
    return cell


async def looked(cell: Cell, key: str = "k1") -> dict[str, Any]:
    """Every field of a record, as the release behind the cell reads it."""

    def record(reply: bytes) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(reply)["record"]
        return fields

    return await cell.pipeline.run(call(cell.cell, "queue/look", record, args={"key": key, "alive_us": 1}))


@dataclass
class Walk:
    """One message on its way, each step by whichever release comes."""

    early: Cell
    late: Cell
    chance: random.Random
    state: str = "queued"
    claimed: Claimed | None = None
    wamids: int = 0
    lapses: int = 0

    @property
    def either(self) -> Cell:
        return self.chance.choice((self.early, self.late))

    async def step(self) -> str:
        """Do something that the state allows; what was done."""
        moves = {
            "queued": ["claim", "claim", "claim", "cancel", "expire", "park"],
            "sending": ["accept", "retry", "snooze", "release", "reject", "lose", "lapse", "sent"],
            "uncertain": ["decide", "accept", "sent", "decide"],
            "accepted": ["sent", "delivered", "fail", "die", "twice"],
            "sent": ["delivered", "read", "fail", "die", "twice"],
            "delivered": ["read", "played", "twice"],
        }
        move = self.chance.choice(moves.get(self.state, ["sent"] if not self.wamids else ["twice"]))
        if move == "lapse" and self.lapses == 2:
            move = "lose"
        self.state = await getattr(self, move)()
        return move

    async def is_due(self) -> None:
        """Let its time come, and nobody remember who claimed before."""
        keys = self.early.cell
        await self.early.redis.zadd(keys.lane(NUMBER, 1), {"k1": 1}, xx=True)
        await self.early.redis.delete(keys.gate(NUMBER), keys.key(f"batch:{NUMBER}:{OWNER}"))

    async def claim(self) -> str:
        await self.is_due()
        [self.claimed] = await self.either.claim_all()
        return "sending"

    async def cancel(self) -> str:
        assert await self.either.run(queue.cancel, "k1") == ("cancelled", "queued")
        return "cancelled"

    async def expire(self) -> str:
        await self.early.end_time("k1")
        assert (await self.either.run(work.tend, OWNER)).expired == 1
        return "expired"

    async def park(self) -> str:
        await self.either.stop("campaign:spring")
        await self.is_due()
        await self.either.own()
        assert (await self.either.claim()).parked == 1
        await self.either.run(stops.lift, "campaign:spring", [NUMBER])
        return "queued"

    async def settled(self, outcome: str, value: str | int = "") -> str:
        assert self.claimed is not None
        return await self.either.settle(self.claimed, outcome, value, error="131000 what")

    async def accept(self) -> str:
        self.wamids += 1
        return await self.settled("accepted", f"wamid.{self.wamids}")

    async def retry(self) -> str:
        return await self.settled("retry", 0)

    async def snooze(self) -> str:
        return await self.settled("snooze", 0)

    async def release(self) -> str:
        return await self.settled("release")

    async def reject(self) -> str:
        return await self.settled("reject")

    async def lose(self) -> str:
        return await self.settled("uncertain")

    async def lapse(self) -> str:
        self.lapses += 1
        await self.early.end_lease("k1")
        assert (await self.either.run(work.tend, OWNER)).uncertain == 1
        return "uncertain"

    async def decide(self) -> str:
        await age(self.early, "k1")
        await all_conditions(self.early)
        assert (await self.either.run(work.decide)).absent == 1
        return "queued"

    async def heard(self, status: str, **fields: Any) -> str:
        claim = self.claimed.claim if self.claimed else 1
        found = await self.either.receipt("k1", status, claim, wamid=f"wamid.{self.wamids or 1}", **fields)
        if not found:
            return self.state  # of a claim that failed
        self.wamids = self.wamids or 1
        return found

    async def sent(self) -> str:
        return await self.heard("sent")

    async def delivered(self) -> str:
        return await self.heard("delivered")

    async def read(self) -> str:
        return await self.heard("read")

    async def played(self) -> str:
        return await self.heard("played")

    async def fail(self) -> str:
        found = await self.heard("failed", code=131000, error="131000 what")
        self.wamids = 0
        return found

    async def die(self) -> str:
        return await self.heard("failed", code=131026, error="131026 no")

    async def twice(self) -> str:
        claim = self.claimed.claim if self.claimed else 1
        wamid = f"wamid.x{self.chance.random()}"
        assert await self.either.receipt("k1", "sent", claim, wamid=wamid) == "duplicate"
        return self.state


@pytest.mark.parametrize("seed", range(60))
async def test_what_a_later_release_adds_survives_every_transition(redis: Redis, seed: int) -> None:
    chance = random.Random(seed)
    walk = Walk(Cell(redis), late_cell(redis), chance)
    is_late = chance.random() < 0.7
    [found] = await (walk.late if is_late else walk.early).enqueue(message("k1", campaign="spring", ttl_s=86_400))
    assert found.word == "queued"
    done: list[str] = []
    for _ in range(STEPS):
        done.append(await walk.step())
        early, late = await looked(walk.early), await looked(walk.late)
        assert early["state"] == late["state"] == walk.state, done
        assert late.get("colour") == (ADDED["colour"] if is_late else None), done
        common = ("number", "to", "campaign", "category", "claim", "attempts", "enqueued", "fingerprint", "others")
        assert {name: early.get(name) for name in common} == {name: late.get(name) for name in common}, done
        assert early.get("broken", "false") == late.get("broken", "false") == "false"
        found = (await walk.either.enqueue(message("k1", campaign="spring", content=text())))[0]
        assert (found.word, found.state) == ("duplicate", walk.state)
    assert "lost" not in {event["cause"] for event in await walk.early.events()}


@pytest.mark.parametrize("status", ["delivered", "failed"])
async def test_an_earlier_release_keeps_what_it_cannot_read_of_a_packed_record(redis: Redis, status: str) -> None:
    early, late = Cell(redis), late_cell(redis)
    await late.queue("k1")
    [claimed] = await late.claim_all()
    await late.settle(claimed, "accepted", "wamid.1")
    packed = (await redis.get(early.key("msg:k1")) or b"").decode()
    assert packed[0] == "2"
    assert packed.split("\t")[24] == ADDED["colour"]
    assert await early.receipt("k1", status, code=131000) in {"delivered", "queued"}
    if status == "failed":
        await redis.zadd(early.cell.lane(NUMBER, 1), {"k1": 1})
        await redis.delete(early.cell.gate(NUMBER), early.key(f"batch:{NUMBER}:{OWNER}"))
        [claimed] = await early.claim_all()
        await early.settle(claimed, "accepted", "wamid.2")
    packed = (await redis.get(early.key("msg:k1")) or b"").decode()
    assert (packed[0], packed.split("\t")[24]) == ("2", ADDED["colour"])
    assert (await looked(late))["colour"] == ADDED["colour"]


async def test_what_the_later_release_writes_anew_wins_over_what_was_kept(redis: Redis) -> None:
    early, late = Cell(redis), late_cell(redis)
    await late.queue("k1")
    [claimed] = await late.claim_all()
    await late.settle(claimed, "accepted", "wamid.1")
    assert await early.receipt("k1", "failed", code=131000) == "queued"
    await late.redis.hset(late.key("msg:k1"), "colour", "blue")
    assert (await looked(late))["colour"] == "blue"
    assert await early.run(queue.cancel, "k1") == ("cancelled", "queued")
    assert (await looked(late))["colour"] == "blue"


async def test_a_field_that_only_a_later_release_knows_is_kept_by_its_name_once_settled(redis: Redis) -> None:
    early, late = Cell(redis), late_cell(redis)
    await late.queue("k1")
    [claimed] = await early.claim_all()
    await early.settle(claimed, "reject")
    assert (await early.record())["rest"] == "colour=deep=red\x1fmood=calm"
    assert (await looked(early))["colour"] == ADDED["colour"]
    assert (await looked(late))["colour"] == ADDED["colour"]
    assert await late.receipt("k1") == "sent"  # rewritten by whoever knows it, it has its place
    packed = (await redis.get(early.key("msg:k1")) or b"").decode()
    assert packed.split("\t")[23:] == ["", ADDED["colour"]]


async def test_what_a_repair_left_in_a_record_harms_nothing(redis: Redis) -> None:
    cell = Cell(redis)
    await cell.queue("k1", "k2")
    wrong = {"a b": "x", "tail": "99\tx", "form": "\xff", "x": "\t\n\x1f\x00", "rest": "y", "unknown": "z" * 5000}
    await cell.redis.hset(cell.key("msg:k1"), mapping=wrong)
    claimed = await cell.claim_all()
    assert [entry.key for entry in claimed] == ["k1", "k2"]
    for entry in claimed:
        assert await cell.settle(entry, "accepted", f"wamid.{entry.key}") == "accepted"
        assert await cell.receipt(entry.key, "delivered", wamid=f"wamid.{entry.key}") == "delivered"
        found = await cell.run(queue.look, entry.key)
        assert found is not None
        assert (found.state, found.number, found.wamid) == ("delivered", NUMBER, f"wamid.{entry.key}")
