"""Thousands of messages through lost answers and bad webhooks: none is lost, and none sent twice without leave."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from dispatcher.observe import logs
from dispatcher.simulator import AnswerRule, Faults, SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.store.embedded import Server
from tests.cell import NAMES, OTP, SHOP, TOKEN, UNPACED, Cell, eventually, posted
from tests.cell import cell as open_cell
from tests.crash.doors import door
from tests.crash.workers import PATIENT, SHORT, workers
from tests.proxy import Holder
from tests.servers import PATIENCE_S, closed_port

pytestmark = pytest.mark.crash

RATE = 400.0
# Half of the answers that are lost belong to messages that were accepted.
FAULTS = Faults(
    seed=4, reset_after=0.02, close_after=0.02, half_body=0.01, reset_before=0.02, close_before=0.02, error_5xx=0.01
)
# Late, doubled, shuffled, and each status lost by itself in one of a hundred cases.
WEBHOOKS: dict[str, Any] = {
    "sent_ms": 50, "delivered_ms": 150, "read_ms": 300, "jitter_ms": 300, "is_shuffled": True, "duplicates": 0.05,
    "lost_sent": 0.01, "lost_delivered": 0.01, "lost_read": 0.01, "seed": 4,
}  # fmt: skip
WINDOWS_S = {"uncertain_window_s": 3.0, "uncertain_window_urgent_s": 2.0}
LONG_S = 3600.0  # a window that does not pass by itself
ACCEPTED = {"accepted", "sent", "delivered", "read"}
TRICKLE_EVERY_S = 0.05


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    numbers = {number: SimulatedNumber(token=TOKEN, rate=UNPACED) for number in (OTP, SHOP)}
    settings = SimulatorSettings(numbers=numbers, token="EAAGother", latency_ms=50, faults=FAULTS)
    async with Simulator(settings).serving() as running:
        yield running


@pytest.fixture
async def cell(server: Server, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Cell]:
    async with open_cell(server.url, tmp_path, simulator, rate=RATE, **PATIENT, **WINDOWS_S) as opened:
        yield opened


def messages(count: int) -> list[dict[str, Any]]:
    """Most of them keep evidence as their policy, one of twenty is a code that may be sent again."""
    return [
        {
            "number": (OTP, SHOP)[place % 2],
            "to": f"+1555{place:07d}",
            "key": f"{'code' if place % 20 == 0 else 'order'}-{place}",
            "priority": "urgent" if place % 20 == 0 else "normal",
            "content": {"type": "text", "text": {"body": f"message {place}"}},
        }
        for place in range(count)
    ]


@contextlib.asynccontextmanager
async def trickle(cell: Cell) -> AsyncIterator[None]:
    """Go on sending a little, as a living system does: silence proves something only beside what is heard."""

    async def send() -> None:
        for place in itertools.count():
            number = (OTP, SHOP)[place % 2]
            await cell.send(f"later-{place}", number=number, to=f"+1556{place:07d}")
            await asyncio.sleep(TRICKLE_EVERY_S)

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def states(cell: Cell, keys: list[str]) -> Counter[str]:
    found = await asyncio.gather(*(cell.record(key) for key in keys))
    return Counter(record.state for record in found)


async def told(cell: Cell) -> list[dict[str, str]]:
    return [{name.decode(): value.decode() for name, value in event.items()} for event in await cell.events()]


@pytest.mark.parametrize("count", [3_000, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_thousands_of_messages_through_lost_answers_and_bad_webhooks(cell: Cell, count: int) -> None:
    given = messages(count)
    keys = [message["key"] for message in given]
    async with door(cell, **WEBHOOKS), workers(cell, 2):
        async for ticket in cell.client.send_many(given):
            assert ticket.error is None
        async with trickle(cell):
            await eventually(lambda: all_resolved(cell))
        await cell.simulator.webhooks.settled(PATIENCE_S)
        await eventually(lambda: all_worked_off(cell))
    found = await states(cell, keys)
    assert set(found) <= ACCEPTED, found

    # the simulator's book, which knows nothing of ours
    posts = [post for post in cell.posts() if str(post["key"]) in set(keys)]
    taken = Counter(str(post["key"]) for post in posts if post["wamid"])
    assert set(taken) == set(keys)
    twice = {key for key, count in taken.items() if count > 1}
    events = await told(cell)
    unproven = {event["key"] for event in events if event["type"] == "resend" and event["cause"] == "unproven"}
    named = {event["key"] for event in events if event["type"] == "duplicate"}
    assert twice <= unproven, f"accepted twice without leave: {twice - unproven}"
    assert named == twice
    for key in named:
        ids = {event["wamid"] for event in events if event["key"] == key and event["type"] == "duplicate"}
        assert ids <= set(cell.simulator.ledger.accepted_wamids(key))
    assert cell.simulator.ledger.report()["overlapping"] == {"count": 0, "keys": []}

    # and it was no quiet day
    by_type = Counter(event["type"] for event in events)
    assert by_type["uncertain"] > count / 20
    assert sum(event["cause"] == "absence" for event in events if event["type"] == "resend") > count / 50


async def all_resolved(cell: Cell) -> bool | None:
    """Nothing of ours waits, is under way or uncertain; what trickles does not matter."""
    async with cell.redis.pipeline(transaction=False) as pipe:
        for name in ("sending", "uncertain", *(f"lane:{number}:{lane}" for number in NAMES for lane in range(3))):
            pipe.zrange(f"{cell.prefix}{name}", 0, -1)
        left = [member for members in await pipe.execute() for member in members]
    await asyncio.sleep(0.2)
    return not any(not member.startswith(b"later-") for member in left) or None


async def all_worked_off(cell: Cell) -> bool | None:
    return not await cell.redis.xlen(f"{cell.prefix}webhooks") or None


async def happened(cell: Cell, key: str, kind: str) -> dict[str, str]:
    """Wait until an event of a message was told."""

    async def find() -> dict[str, str] | None:
        return next((event for event in await told(cell) if (event["key"], event["type"]) == (key, kind)), None)

    return await eventually(find)


@contextlib.asynccontextmanager
async def quiet(server: Server, simulator: Simulator, folder: Path, **given: Any) -> AsyncIterator[Cell]:
    """A cell with a simulator without faults of its own."""
    simulator.faults = Faults()
    logs.set_up("ERROR")
    times = {**SHORT, "uncertain_window_s": LONG_S, "uncertain_window_urgent_s": LONG_S, **given}
    async with open_cell(server.url, folder, simulator, rate=RATE, **times) as opened:
        yield opened
    structlog.reset_defaults()


async def test_a_code_that_was_accepted_twice_is_named_with_both_ids(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    """Its receipts come only once it was sent again: until then they find nobody."""
    simulator.rules.add(AnswerRule(fault="close_after", number=OTP, count=1))
    given = {"sent_ms": 0, "delivered_ms": 0, "read_ms": 0, "retry_ms": 50, "retry_growth": 1, "tries_most": 1_000_000}
    async with quiet(server, simulator, tmp_path, uncertain_window_urgent_s=0.5) as cell, door(cell, **given):
        url = simulator.webhooks.settings.url
        with closed_port() as port:
            simulator.webhooks.change(url=f"http://127.0.0.1:{port}/")
            await cell.work()
            await cell.send("code-1", priority="urgent")
            resend = await happened(cell, "code-1", "resend")
            await posted(cell, 2)
            simulator.webhooks.change(url=url)
        event = await happened(cell, "code-1", "duplicate")
    assert resend["cause"] == "unproven"
    ids = simulator.ledger.accepted_wamids("code-1")
    assert len(ids) >= 2
    assert {event["wamid"], event["cause"]} <= set(ids)


@pytest.mark.parametrize("fault", ["close_after", "half_body", "error_5xx_after", "hang_after"])
async def test_a_receipt_resolves_a_send_whose_answer_was_lost(
    server: Server, simulator: Simulator, tmp_path: Path, fault: str
) -> None:
    simulator.rules.add(AnswerRule(fault=fault, number=OTP, count=1))
    async with quiet(server, simulator, tmp_path) as cell, door(cell, sent_ms=100, delivered_ms=100, read_ms=100):
        await cell.work()
        await cell.send("order-1", priority="urgent", on_uncertain="evidence")
        found = await cell.becomes("order-1", "read")
        assert found.wamid == simulator.ledger.accepted_wamids("order-1")[0]
        assert len(cell.posts("order-1")) == 1
        assert found.attempts == 1


async def test_receipts_that_come_before_our_own_answer_change_nothing(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    async with (
        Holder(simulator.url).listening() as holder,
        quiet(server, simulator, tmp_path, graph_url=holder.url, **PATIENT) as cell,
        door(cell, sent_ms=0, delivered_ms=0, read_ms=0, batch_ms=0),
    ):
        await cell.work()
        await cell.send("order-1")
        await cell.becomes("order-1", "read")
        holder.open.set()
        await cell.end_all()  # once the answer has come
        assert (await cell.record("order-1")).state == "read"
        kinds = [event["type"] for event in await told(cell)]
    assert sorted(kinds) == ["accepted", "delivered", "read", "sent"]


async def last_look(cell: Cell, key: str) -> None:
    """Let the message's eighth window end now: it is decided about for the last time."""
    seconds, micros = await cell.redis.time()
    now = int(seconds) * 1_000_000 + int(micros)
    await cell.redis.hset(f"{cell.prefix}msg:{key}", "since", now - round(8 * LONG_S * 1_000_000))
    await cell.redis.zadd(f"{cell.prefix}uncertain", {key: now})


async def test_silence_proves_only_what_the_door_was_open_for(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    """The door dies and comes back while a send is uncertain: it is held, not sent again."""
    simulator.rules.add(AnswerRule(fault="close_before", number=OTP, count=1))
    async with quiet(server, simulator, tmp_path) as cell:
        async with door(cell):
            await cell.work()
            await cell.send("order-1")
            await cell.becomes("order-1", "uncertain")
        async with door(cell, sent_ms=0, delivered_ms=0, read_ms=0):
            await cell.send("order-2")
            await cell.becomes("order-2", "read")
            await last_look(cell, "order-1")
            found = await cell.becomes("order-1", "dead")
        # the new door marks the gap, and half a second later at most forgets the dead one that is silent
        assert found.cause == "held"
        assert found.error in {"webhook door had a gap", "a webhook door is silent"}
        assert len(cell.posts("order-1")) == 1


async def test_numbers_whose_webhooks_go_elsewhere_prove_nothing(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    """The door is open all the time, but no receipt of this number ever comes."""
    simulator.rules.add(AnswerRule(fault="close_before", number=OTP, count=1))
    async with quiet(server, simulator, tmp_path) as cell, door(cell, lost_messages=1.0):
        await cell.work()
        await cell.send("order-1")
        await cell.becomes("order-1", "uncertain")
        await cell.send("order-2")
        await cell.becomes("order-2", "accepted")
        await last_look(cell, "order-1")
        found = await cell.becomes("order-1", "dead")
        assert (found.cause, found.error) == ("held", "no receipt of a later message")
        assert len(cell.posts("order-1")) == 1
