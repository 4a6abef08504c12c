"""A slot of a cluster that moves key by key: what is asked meanwhile works or says that Redis is away, and no book breaks."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis

from dispatcher import errors
from dispatcher.meta.webhook import Inbound, Notice, Preference, Unreadable
from dispatcher.store import campaigns, numbers, queue, receipts, schema, stops, streams, webhooks, work
from dispatcher.store import cell as cells
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.numbers import Registered
from dispatcher.store.work import Claimed
from tests.cell import eventually
from tests.servers import OwnServer, old_server_path
from tests.store.cell import HOUR_US, NUMBER, OTHER, OWNER, SECOND_US, TOKEN, WABA, Cell, message, published

# a busy machine must not make one node take the other for dead
OPTIONS = {"cluster-enabled": "yes", "cluster-require-full-coverage": "no", "cluster-node-timeout": "120000"}
SLOT = 12501  # that of {main}
PERSON = ("+15551234567", NUMBER, WABA)


class Node:
    """One server of the cluster."""

    def __init__(self, server: Server, redis: Any) -> None:
        self.server = server
        self.redis = redis
        self.id = ""

    async def cluster(self, *words: object) -> str:
        # a name in bytes is known to none of redis-py's callbacks for replies
        found = await self.redis.execute_command(b"CLUSTER", *words)
        return found.decode() if isinstance(found, bytes) else str(found)

    async def sees(self, *facts: str) -> bool:
        lines = (await self.cluster("INFO")).splitlines()
        return all(fact in lines for fact in facts)

    async def keys(self) -> list[bytes]:
        return sorted(await self.redis.keys("*"))

    @asynccontextmanager
    async def cell(self) -> AsyncIterator[Cell]:
        redis = connect(self.server.url, schema.Cell(), timeout_s=5)
        cell = Cell(redis)
        try:
            yield cell
        finally:
            await cell.pipeline.idle()
            await redis.aclose()


@dataclass
class Move:
    """The slot on its way from one node to another."""

    source: Node
    target: Node

    async def begin(self) -> None:
        await self.target.cluster("SETSLOT", SLOT, "IMPORTING", self.source.id)
        await self.source.cluster("SETSLOT", SLOT, "MIGRATING", self.target.id)

    async def carry(self, key: bytes) -> None:
        await self.source.redis.execute_command(b"MIGRATE", "127.0.0.1", self.target.server.port, key, 0, 5000)

    async def end(self) -> None:
        for key in await self.source.keys():  # what came meanwhile
            await self.carry(key)
        for node in (self.target, self.source):
            await node.cluster("SETSLOT", SLOT, "NODE", self.target.id)


@pytest.fixture(params=["suite", "redis-6.2"])
async def nodes(request: pytest.FixtureRequest, own_server: OwnServer) -> AsyncIterator[tuple[Node, Node]]:
    """Two masters, the first of which has the slot; each has another one that stays."""
    path = old_server_path() if request.param == "redis-6.2" else None
    servers = [own_server(path, options=OPTIONS) for _ in range(2)]
    async with (
        Redis.from_url(servers[0].url, protocol=2) as one,
        Redis.from_url(servers[1].url, protocol=2) as other,
    ):
        first, second = Node(servers[0], one), Node(servers[1], other)
        await first.cluster("ADDSLOTS", SLOT, 1)
        await second.cluster("ADDSLOTS", 2)
        await first.cluster("MEET", "127.0.0.1", servers[1].port)
        for node in (first, second):
            node.id = await node.cluster("MYID")

            async def is_up(node: Node = node) -> bool:
                return await node.sees("cluster_state:ok", "cluster_known_nodes:2", "cluster_slots_assigned:3")

            await eventually(is_up, 30)
        yield first, second


@dataclass
class Books:
    """The messages that producers were told of, and what became of some; `in_hand` is claimed and to be settled."""

    in_hand: Claimed
    queued: set[str]
    dead: set[str]
    accepted: set[str]


SETS: Mapping[str, set[str]] = {
    "sending": {"sending", "expiry"},
    "uncertain": {"uncertain", "expiry"},
    "dead": {"dead"},
}


async def fill(cell: Cell) -> Books:
    """Put messages into every state, with something due for each script that looks by itself."""
    await cell.run(numbers.publish, [published(NUMBER, "otp-us", 80, WABA)])
    await cell.stop("campaign:spring")
    await cell.queue("parked", campaign="spring", callback_data="order=1")
    await cell.queue(
        "held", "sending", "settled", "rejected", "lapsing", "again", "unsure", "delivered", campaign="fall"
    )
    claimed = {entry.key: entry for entry in await cell.claim_all()}
    await cell.settle(claimed["rejected"], "reject", error="131026 no")
    await cell.settle(claimed["unsure"], "uncertain")
    await cell.settle(claimed["held"], "release")
    for key in ("delivered", "again"):
        await cell.settle(claimed[key], "accepted", f"wamid.{key}")
    now = await cell.now()
    since = now - 60 * SECOND_US
    await cell.redis.hset(cell.key("msg:unsure"), mapping={"since": since, "claimed": since - SECOND_US})
    await cell.redis.zadd(cell.key("uncertain"), {"unsure": now})
    await cell.redis.hset(cell.key("door"), "gap", now - HOUR_US)
    await cell.redis.zadd(cell.key("doors"), {"door-1": now})
    await cell.redis.hset(cell.key(f"witness:{NUMBER}"), "", now)
    await cell.end_lease("lapsing")
    await cell.redis.hdel(cell.cell.gate(NUMBER), "owner")
    await cell.queue("waiting", callback_data="order=2")
    known = {"parked", "held", "sending", "settled", "rejected", "lapsing", "again", "unsure", "delivered", "waiting"}
    return Books(claimed["settled"], known, {"rejected"}, {"delivered", "again"})


def steps(cell: Cell, books: Books, turn: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every script; what a step is told is written into the books."""
    stream = cell.key("webhooks")

    async def enqueue() -> None:
        key = f"new-{turn}"
        [found] = await cell.enqueue(message(key))
        assert (found.word, found.state) == ("queued", "queued")
        books.queued.add(key)

    async def look() -> None:
        for key in books.queued:
            found = await cell.run(queue.look, key)
            assert found is not None
            assert (found.state == "dead") == (key in books.dead), f"{key} is {found.state} ({found.cause})"

    async def again() -> None:
        [found] = await cell.enqueue(message("waiting", callback_data="order=2"))
        assert found.word == "duplicate"
        assert found.state != "dead"

    async def settle() -> None:
        assert await cell.settle(books.in_hand, "accepted", "wamid.settled") in {"accepted", ""}
        books.accepted.add("settled")

    async def claim() -> None:
        await cell.run(work.announce, OWNER, {NUMBER: TOKEN})
        await cell.run(work.take, OWNER)
        batch = await cell.claim()
        assert batch.lost == 0

    async def stored() -> None:
        await cell.run(webhooks.create_group, stream)
        entries = [entry.id for entry in await cell.run(webhooks.read, stream, OWNER, 10, 0)]
        await cell.run(webhooks.hold, stream, OWNER, entries)
        await cell.run(webhooks.finish, stream, entries)
        await cell.run(webhooks.drop_consumers, stream)

    return {
        "enqueue": enqueue,
        "look": look,
        "again": again,
        "settle": settle,
        "claim": claim,
        "webhooks": stored,
        "tend": lambda: cell.run(work.tend, OWNER),
        "decide": lambda: cell.run(work.decide),
        "release": lambda: cell.run(work.release, OWNER, [NUMBER]),
        "wake": lambda: cell.run(work.wake, [NUMBER]),
        "cancel": lambda: cell.run(queue.cancel, "unknown"),
        "receipt": lambda: cell.receipt("delivered", "delivered", wamid="wamid.delivered"),
        "failed": lambda: cell.receipt("again", "failed", wamid="wamid.again", code=131000),
        "foreign": lambda: cell.receipt("unknown"),
        "stop": lambda: cell.stop("campaign:autumn"),
        "lift": lambda: cell.run(stops.lift, "campaign:spring", [NUMBER]),
        "publish": lambda: cell.run(numbers.publish, [published(OTHER, "news", 80, WABA)]),
        "registry": lambda: cell.run(numbers.all_),
        "inbound": lambda: cell.run(receipts.inbound, [Inbound(f"wamid.{turn}", *PERSON, 1, "text", "hello", "{}")]),
        "prefer": lambda: cell.run(
            receipts.prefer,
            [Preference("+15557654321", NUMBER, WABA, category="marketing", stops=True, at_s=turn, reason="STOP")],
        ),
        "notice": lambda: cell.run(receipts.notice, [Notice("account_update", WABA, turn, "{}")]),
        "aside": lambda: cell.run(receipts.keep_unreadable, [Unreadable("no JSON", "x", is_receipt=False)]),
        "store": lambda: cell.run(webhooks.store, b"{}", "", "", gap=False, forwards=()),
        "beat": lambda: cell.run(webhooks.beat, "door-1", gap=True, forwards=()),
        "forwards": lambda: cell.run(webhooks.forget_forwards, ["http://127.0.0.1/"], 60),
        "drop": lambda: cell.run(webhooks.drop_old, stream, 3600),
        "dead": lambda: cell.run(queue.forget_dead),
        "forget": lambda: cell.run(campaigns.forget),
        "trim": lambda: cell.run(streams.trim, 3600),
        "lags": lambda: cell.run(streams.lags),
        "campaigns": lambda: cell.run(campaigns.running, 5),
        "standings": lambda: standings(cell),
        "sending": lambda: cell.run(cells.sending),
        "happened": lambda: cell.run(cells.happened),
    }


async def standings(cell: Cell) -> None:
    around = await cell.run(cells.around)
    await cell.run(cells.standings, [Registered(NUMBER, "otp-us", WABA)], around)


async def agree(cell: Cell, books: Books) -> None:
    """Everything is listed where its record says, nothing is lost, and nothing died."""
    for key in sorted(books.queued):
        found = await cell.run(queue.look, key)
        assert found is not None, f"{key} is lost"
        sets = await cell.sets_of(key)
        assert (found.state == "dead") == (key in books.dead), f"{key} is {found.state} ({found.cause})"
        assert key not in books.accepted or found.state != "sending"
        if found.state == "queued":
            [place] = sets - {"expiry"}
            assert place.startswith(("lane:", "parked:campaign:spring"))
        else:
            assert sets == SETS.get(found.state, set()), f"{key} is {found.state} and in {sets}"
        if found.state in {"queued", "sending", "uncertain"}:
            assert await cell.redis.exists(cell.key("body:" + key)), f"{key} has no body"
    told = await cell.told()
    for kind in ("accepted", "dead", "duplicate"):
        keys = [key for word, key in told if word == kind]
        assert len(keys) == len(set(keys)), f"{kind} is told twice of one of {keys}"


async def goes_on(cell: Cell, books: Books) -> None:
    """What waits is sent, each once."""
    await cell.run(stops.lift, "campaign:spring", [NUMBER])
    await cell.redis.delete(cell.cell.gate(NUMBER))
    waiting = {key for key in books.queued if (await cell.record(key))["state"] == "queued"}
    for key in waiting:
        await cell.redis.zadd(cell.cell.lane(NUMBER, 1), {key: 1}, xx=True)
    claimed = await cell.claim_all()
    assert sorted(entry.key for entry in claimed) == sorted(waiting)
    for entry in claimed:
        assert await cell.settle(entry, "accepted", f"wamid.2.{entry.key}") == "accepted"


async def ask_everything(cell: Cell, books: Books, turn: int) -> set[str]:
    """Try every step; which of them said that Redis is away. Anything else is a fault."""
    away = set()
    for name, step in steps(cell, books, turn).items():
        try:
            await step()
        except errors.QueueBroken as exc:
            raise AssertionError(f"{name}: {exc}") from exc
        except errors.QueueUnavailable:
            away.add(name)
    return away


def orders(keys: list[bytes]) -> list[list[bytes]]:
    """Some orders in which keys may be moved: each kind of key goes early in one of them."""
    shuffled = [random.Random(seed).sample(keys, len(keys)) for seed in range(2)]
    records = sorted(keys, key=lambda key: b":msg:" not in key)
    return [records, records[::-1], *shuffled]


async def test_while_a_slot_moves_everything_works_or_says_away_and_nothing_is_lost(nodes: tuple[Node, Node]) -> None:
    source, target = nodes
    for round_ in range(4):
        await source.redis.flushall()
        move = Move(source, target)
        async with source.cell() as cell:
            books = await fill(cell)
            keys = orders(await source.keys())[round_]
            assert await ask_everything(cell, books, -1) == set()  # or the rest would show nothing
            await source.redis.flushall()
            books = await fill(cell)
            await move.begin()
            for turn, key in enumerate(keys):
                await move.carry(key)
                assert "enqueue" in await ask_everything(cell, books, turn)
            await move.end()
            assert await ask_everything(cell, books, 1000) == set(steps(cell, books, 0))  # it is somebody else's now
        async with target.cell() as cell:
            await agree(cell, books)
            assert await ask_everything(cell, books, 2000) == set()
            await agree(cell, books)
            await goes_on(cell, books)
        source, target = target, source


async def test_a_new_message_is_queued_once_the_slot_has_moved(nodes: tuple[Node, Node]) -> None:
    source, target = nodes
    move = Move(source, target)
    async with source.cell() as cell:
        await cell.queue("k1")
        await move.begin()
        with pytest.raises(errors.QueueUnavailable, match="^Redis is away"):
            await cell.enqueue(message("k2"))
        await move.end()
    async with target.cell() as cell:
        [found] = await cell.enqueue(message("k2"))
        assert found.word == "queued"
        assert sorted(await cell.lane()) == ["k1", "k2"]


async def test_what_the_server_refuses_says_nothing_about_the_data(own_server: OwnServer) -> None:
    """A user without the right to read records must not take them for broken ones."""
    server = own_server()
    async with Redis.from_url(server.url, protocol=2) as redis:
        await Cell(redis).queue("k1")
        await redis.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-hgetall")
        limited = Redis.from_url(server.url.replace("//", "//limited:secret@"), protocol=2)
        async with limited:
            cell = Cell(limited)
            with pytest.raises(errors.QueueUnavailable):
                await cell.enqueue(message("k1"))
            with pytest.raises(errors.QueueUnavailable):
                await cell.run(queue.look, "k1")
        assert await Cell(redis).lane() == ["k1"]
