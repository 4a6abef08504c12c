"""Several workers and numbers: who serves what when they disagree, and when there are many."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.asyncio import Redis

from dispatcher.simulator import Simulator, SimulatorSettings
from dispatcher.store.embedded import Server
from tests.cell import OTP, RATE, Cell, cell, posted
from tests.store.cell import publish, published
from tests.worker.conftest import SHORT


async def test_two_workers_that_both_believe_they_own_a_number_double_nothing_and_keep_the_rate(cell: Cell) -> None:
    cell.simulator.set_latency(100)
    keys = [f"m{i}" for i in range(160)]
    await cell.send_all(keys, priority="bulk")
    await cell.work()
    await cell.work()
    while len(cell.simulator.ledger) < 120:
        # the lease of whoever serves it ends while it serves on
        await cell.redis.zadd(f"{cell.prefix}due", {OTP: 1})
        await asyncio.sleep(0.005)
    await cell.all_become(keys, "accepted")
    report = cell.simulator.ledger.report()
    assert (report["requests"], report["accepted_once"]) == (160, 160)
    assert report["overlapping"] == {"count": 0, "keys": []}
    await cell.were_claimed_at(keys, RATE)


@pytest.mark.long
async def test_ten_thousand_numbers_with_one_message_each_are_all_served(server: Server, tmp_path: Path) -> None:
    names = [str(10**12 + i) for i in range(10_000)]
    async with (
        Simulator(SimulatorSettings()).serving() as simulator,
        cell(server.url, tmp_path, simulator, **SHORT) as opened,
        Redis.from_url(server.url, protocol=2) as redis,
    ):
        token = f'access_token = {{ file = "{opened.token_file}" }}'
        opened.numbers_file.write_text("\n".join(f"[numbers.{name}]\n{token}" for name in names))
        await publish(redis, opened.settings.cell, *(published(name, "", 80, "") for name in names))
        messages = (opened.message(f"k{name}", number=name) for name in names)
        async for ticket in opened.client.send_many(messages):
            assert ticket.error is None
        await opened.work()
        await posted(opened, len(names))
        assert simulator.ledger.report()["accepted_once"] == len(names)


async def test_a_producer_whose_clock_is_an_hour_off_is_served_at_once(cell: Cell, tmp_path: Path) -> None:
    producer = tmp_path / "producer.py"
    producer.write_text(
        "import asyncio, sys, time\n"
        "right, right_ns = time.time, time.time_ns\n"
        "off = int(sys.argv[3])\n"
        "time.time, time.time_ns = lambda: right() + off, lambda: right_ns() + off * 10**9\n"
        "from dispatcher import Dispatcher\n"
        "async def main():\n"
        "    async with Dispatcher.connect(sys.argv[1], cell=sys.argv[2]) as d:\n"
        "        content = {'type': 'text', 'text': {'body': 'hello'}}\n"
        "        message = {'number': 'otp', 'to': '+15551234567', 'content': content, 'priority': 'urgent'}\n"
        "        await d.send({**message, 'key': f'off{off}'})\n"
        "asyncio.run(main())\n"
    )
    await cell.work()
    url = cell.settings.redis_url.get_secret_value()

    for off in (3600, -3600):
        before = datetime.now(UTC)
        process = await asyncio.create_subprocess_exec(sys.executable, producer, url, cell.settings.cell, str(off))
        assert await process.wait() == 0
        record = await cell.becomes(f"off{off}", "accepted")
        assert record.enqueued_at is not None
        assert before <= record.enqueued_at <= datetime.now(UTC)
