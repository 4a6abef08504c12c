"""One cell on a real server, as tests use it: messages, claims, settlements, and time that is moved by rewriting it."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

from pydantic import SecretStr
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.message.message import Message
from dispatcher.meta.webhook import Receipt
from dispatcher.policy.bucket import Room
from dispatcher.settings import Number
from dispatcher.store import numbers, queue, receipts, schema, stops, work
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.queue import Enqueued
from dispatcher.store.receipts import Applied
from dispatcher.store.scripts import Argument, Command, Steps, plain
from dispatcher.store.stops import Stop
from dispatcher.store.work import Batch, Claimed, Settlement

NUMBER = "106540352242922"
OTHER = "206540352242922"
WABA = "102290129340398"
TOKEN = "a1b2c3"
OWNER = "process-1"
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
RATE = 200.0  # a bucket of 4
AMPLE = Room(urgent=100, normal=100, bulk=100)
LEASES = schema.Cell(number_lease_s=400, message_lease_s=(1300, 2200, 2200))
"""A hundred times what they are by default: none ends by itself, however slow the machine is."""
T = TypeVar("T")


def bucket_size(rate_per_s: float) -> float:
    """What a bucket must hold: one message and 15 ms of the rate."""
    return 1 + 0.015 * rate_per_s


def refill_rate(rate_per_s: float) -> float:
    """What must flow into a bucket in a second: 96 % of the rate."""
    return 0.96 * rate_per_s


def published(number: str, name: str = "", rate_per_s: float = 80.0, waba_id: str = "") -> Number:
    """A number as a numbers file gives it, without a token."""
    return Number(number, name, rate_per_s, waba_id, SecretStr(""))


async def publish(redis: "Redis", cell: str, *given: Number) -> None:
    """Make numbers known in a cell."""
    await Pipeline(redis).follow(numbers.publish(schema.Cell(cell), given))


def text(body: str = "Hello") -> dict[str, Any]:
    return {"type": "text", "text": {"body": body}}


def template(name: str = "shipped") -> dict[str, Any]:
    return {"type": "template", "template": {"name": name, "language": {"code": "en_US"}}}


def message(key: str = "k1", **fields: Any) -> Message:
    given: dict[str, Any] = {"number": NUMBER, "to": "+15551234567", "content": text(), "key": key, **fields}
    return Message.parse(given)


@dataclass(frozen=True, slots=True)
class Asking:
    """A claim that can be made again; `credential` is the fingerprint of a token."""

    number: str
    owner: str
    sequence: int
    rate_per_s: float
    room: Room
    waba_id: str
    credential: str


class _Sender(Number):
    """A number whose token has the fingerprint that a test wants."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_fingerprint", self.token.get_secret_value())


class Cell:
    """The lanes of one cell; every call goes to the server, and Redis is open to look into and to tamper with.

    `run` carries out what the store's functions make of this cell: `await cell.run(work.tend, "process-1")`.
    """

    def __init__(self, redis: "Redis", cell: schema.Cell | None = None) -> None:
        # redis-py annotates one class for sync and async; here everything is awaited
        self.redis: Any = redis
        self.cell = cell or LEASES
        self.pipeline = Pipeline(redis)
        self.client = Dispatcher(self.pipeline, self.cell)
        self.url = ""
        self.handed_out: list[Claimed] = []
        self._sequence = 0

    @overload
    async def run(self, make: Callable[..., Command[T]], *args: Any, **fields: Any) -> T: ...

    @overload
    async def run(self, make: Callable[..., Steps[T]], *args: Any, **fields: Any) -> T: ...

    async def run(self, make: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Carry out a command or steps of the store."""
        made = make(self.cell, *args, **fields)
        return await (self.pipeline.run(made) if isinstance(made, Command) else self.pipeline.follow(made))

    async def command(self, *words: Argument) -> Any:
        """Carry out a command of Redis's own; its raw reply."""
        return await self.pipeline.run(plain(*words, parse=lambda reply: reply))

    def key(self, name: str) -> str:
        return self.cell.key(name)

    # messages on their way

    async def enqueue(self, *messages: Message) -> list[Enqueued]:
        return await self.run(queue.enqueue, messages)

    async def queue(self, *names: str, **fields: Any) -> None:
        """Queue one message a key."""
        found = await self.enqueue(*(message(name, **fields) for name in names))
        assert [entry.word for entry in found] == ["queued"] * len(names)

    async def take(self, owner: str = OWNER, given: Iterable[str] = (NUMBER,)) -> list[str]:
        await self.run(work.announce, owner, dict.fromkeys(given, TOKEN))
        return (await self.run(work.take, owner))[1]

    def asking(self, number: str = NUMBER, **changes: Any) -> Asking:
        self._sequence += 1
        asking = Asking(number, OWNER, self._sequence, RATE, AMPLE, WABA, TOKEN)
        return replace(asking, **changes)

    async def ask(self, asking: Asking) -> Batch:
        """Claim, perhaps again."""
        token = SecretStr(asking.credential)
        sender = _Sender(asking.number, "", asking.rate_per_s, asking.waba_id, token)
        return await self.run(work.claim, sender, asking.owner, asking.sequence, asking.room)

    async def claim(self, number: str = NUMBER, **changes: Any) -> Batch:
        """Claim with the next sequence, by whoever is named as the owner; a `rate_per_s` is given to the gate."""
        if "rate_per_s" in changes:
            await self.set_gate(number, rate=changes["rate_per_s"])
        return await self.ask(self.asking(number, **changes))

    async def own(self, number: str = NUMBER, owner: str = OWNER) -> None:
        """Make an owner by hand, whether anything is due or not."""
        await self.redis.hset(self.cell.gate(number), "owner", owner)
        await self.redis.zadd(self.key("due"), {number: await self.now() + round(LEASES.number_lease_s * SECOND_US)})

    async def claim_all(self, number: str = NUMBER, **changes: Any) -> list[Claimed]:
        """Own the number and claim what is due, as a rate without bounds allows; then it has its own again."""
        await self.own(number)
        batch = await self.claim(number, **{"rate_per_s": 100_000.0, **changes})
        await self.set_gate(number, rate=RATE)
        return batch.messages

    async def claimed(self, key: str = "k1", **fields: Any) -> Claimed:
        """Queue one message and claim it."""
        await self.queue(key, **fields)
        found = {claimed.key: claimed for claimed in await self.claim_all(fields.get("number", NUMBER))}
        return found[key]

    async def settle(self, claimed: Claimed, outcome: str, value: str | int = "", **fields: Any) -> str:
        return (await self.run(work.settle, [await self.settlement(claimed, outcome, value, **fields)]))[0]

    async def settlement(self, claimed: Claimed, outcome: str, value: str | int = "", **fields: Any) -> Settlement:
        if outcome == "accepted" and not value:
            value = "wamid.1"
        given = {"number": NUMBER, "claimed_us": await self.now(), **fields}
        return settlement(claimed, outcome, value=value, **given)

    async def receipt(self, key: str = "k1", status: str = "sent", claim: int = 1, **fields: Any) -> str:
        """Hear of a message what Meta says of it; a field `callback` makes it somebody else's."""
        return (await self.applied(key, status, claim, **fields)).word

    async def applied(self, key: str = "k1", status: str = "sent", claim: int = 1, **fields: Any) -> Applied:
        """The same, with all that the receipt changed."""
        given = {"wamid": "wamid.1", "at_s": 1_795_000_000, "number": NUMBER, "waba": WABA, **fields}
        given.setdefault("callback", f"d1:{claim}:{key}")
        return (await self.run(receipts.apply, [Receipt(status=status, **given)]))[0]

    async def stop(self, scope: str, action: str = "hold", **fields: Any) -> None:
        await self.run(stops.add, Stop(scope, action, reason="a test", by="tests", **fields))

    # what Redis shows

    async def now(self) -> int:
        seconds, microseconds = await self.redis.time()
        return int(seconds) * SECOND_US + int(microseconds)

    async def state(self, key: str = "k1") -> str:
        found = await self.record(key)
        return found.get("state", "")

    async def record(self, key: str = "k1") -> dict[str, str]:
        """The record as it is kept: a hash, or the packed string's fields by their order."""
        name = self.key("msg:" + key)
        if await self.redis.type(name) == b"hash":
            return {field.decode(): value.decode() for field, value in (await self.redis.hgetall(name)).items()}
        packed = await self.redis.get(name)
        if packed is None:
            return {}
        found = unpacked(packed.decode())
        enqueued = int(found["enqueued"] or 0)
        if wamid := found["wamid"]:
            found["wamid"] = wamid[1:] if wamid.startswith("=") else f"wamid.{wamid}"
        return found | {name: str(enqueued + int(found[name]) * unit) for name, unit in SINCE.items() if found[name]}

    async def lane(self, priority: int = 1, number: str = NUMBER) -> list[str]:
        return await self.members(f"lane:{number}:{priority}")

    async def members(self, name: str) -> list[str]:
        return [member.decode() for member in await self.redis.zrange(self.key(name), 0, -1)]

    async def score(self, name: str, member: str) -> int | None:
        found = await self.redis.zscore(self.key(name), member)
        return None if found is None else round(found)

    async def sets_of(self, key: str) -> set[str]:
        """Every sorted set of the cell that the key is in, without the cell's prefix."""
        prefix = self.cell.prefix
        found = set()
        async for name in self.redis.scan_iter(match=prefix.replace("{", "\\{") + "*", _type="zset", count=1000):
            if await self.redis.zscore(name, key) is not None:
                found.add(name.decode().removeprefix(prefix))
        return found

    async def events(self) -> list[dict[str, str]]:
        entries = await self.redis.xrange(self.key("events"))
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]

    async def told(self) -> list[tuple[str, str]]:
        """Type and key of every event."""
        return [(event["type"], event["key"]) for event in await self.events()]

    async def gate(self, number: str = NUMBER) -> dict[str, str]:
        found = await self.redis.hgetall(self.cell.gate(number))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def set_gate(self, number: str = NUMBER, **fields: Any) -> None:
        await self.redis.hset(self.cell.gate(number), mapping=dict(fields))

    async def campaign(self, name: str = "spring") -> dict[str, int]:
        """The counts of a campaign, without those that are 0."""
        found = await self.redis.hgetall(self.key("campaign:" + name))
        return {state.decode(): int(count) for state, count in found.items() if int(count)}

    @asynccontextmanager
    async def overheard(self) -> AsyncIterator[list[str]]:
        """What clients ask of the server in this block; what scripts call is left out, as are new connections."""
        commands: list[str] = []
        async with self.redis.monitor() as monitor:
            yield commands
            await self.redis.echo("the end")
            while (heard := await monitor.next_command())["command"] != "ECHO the end":
                if heard["client_type"] != "lua" and not heard["command"].startswith("CLIENT"):
                    commands.append(heard["command"])

    # time, moved

    async def refill(self, number: str = NUMBER) -> None:
        """Let an hour pass for the bucket."""
        await self.set_gate(number, at=await self.now() - HOUR_US)

    async def fix_tokens(self, tokens: float, number: str = NUMBER) -> None:
        """Put so many tokens into the bucket and let no time refill it: its clock is ahead."""
        await self.set_gate(number, tokens=tokens, at=await self.now() + HOUR_US)

    async def end_lease(self, *keys: str) -> None:
        """Let the leases of claimed messages run out."""
        past = await self.now() - 1
        await self.redis.zadd(self.key("sending"), dict.fromkeys(keys, past), xx=True)

    async def end_time(self, key: str) -> None:
        """Let a message's time to live run out."""
        past = await self.now() - 1
        await self.redis.hset(self.key("msg:" + key), "expires", str(past))
        await self.redis.zadd(self.key("expiry"), {key: past}, xx=True)

    async def end_ownership(self, number: str = NUMBER) -> None:
        """Let the lease of a number run out."""
        await self.redis.zadd(self.key("due"), {number: await self.now() - 1}, xx=True)

    async def end_block(self, number: str = NUMBER) -> None:
        """Let the block of a gate run out, half open probe included."""
        past = await self.now() - 1
        await self.set_gate(number, until=past, probe=0)


STATES = {
    "a": "accepted", "s": "sent", "d": "delivered", "r": "read", "p": "played", "e": "expired", "c": "cancelled",
    "u": "suppressed", "x": "dead",
}  # fmt: skip
SINCE = {"due": 1, "claimed": 1, "settled": 1, "expires": SECOND_US}
PACKED = (
    "state", "fingerprint", "cause", "number", "to", "priority", "template", "category", "campaign", "claim",
    "attempts", "enqueued", "due", "claimed", "settled", "wamid", "error", "extra",
    "receipts", "expires", "unproven", "failed", "others", "rest",
)  # fmt: skip


def unpacked(text: str) -> dict[str, str]:
    """The fields of a settled record by their order; what is empty at the end was left out."""
    assert text[0] == "1", "a record begins with its form"
    state, *values = text[1:].split("\t")
    return dict(zip(PACKED, [STATES[state], *values, *[""] * (len(PACKED) - len(values) - 1)], strict=True))


def settlement(claimed: Claimed, outcome: str, **fields: Any) -> Settlement:
    """What became of a claimed message; its number is NUMBER unless another is given."""
    given = {"number": NUMBER, "claimed_us": 0, **fields}
    return Settlement(
        claimed.key, claimed.claim, outcome, priority=claimed.priority, recipient=claimed.recipient,
        fingerprint=claimed.fingerprint, **given,
    )  # fmt: skip


def keys_of(claimed: Iterable[Claimed]) -> list[str]:
    return [entry.key for entry in claimed]


def without(row: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in names}
