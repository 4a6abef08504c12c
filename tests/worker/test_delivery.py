"""A worker in this process, a real Redis, the simulator on a real socket: what each answer of Meta's leads to."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.simulator import AnswerRule, SimulatedNumber, Simulator
from dispatcher.store import stops
from dispatcher.store.embedded import Server
from dispatcher.store.stops import Stop
from tests.cell import OTP, RATE, SHOP, TOKEN, UNPACED, Cell, eventually, posted, write_numbers
from tests.cell import cell as open_cell
from tests.proxy import Holder
from tests.worker.conftest import SHORT


async def test_a_message_is_posted_as_it_was_sent_and_its_id_is_known(cell: Cell) -> None:
    await cell.work()
    await cell.send("order-1", number="otp", callback_data="order=1")
    record = await cell.becomes("order-1", "accepted")
    (post,) = cell.posts()
    assert (post["key"], post["claim"], post["number"], post["outcome"]) == ("order-1", 1, OTP, "accepted")
    assert (record.wamid, record.attempts, record.error) == (post["wamid"], 1, "")
    (event,) = await cell.events()
    assert (event[b"type"], event[b"key"], event[b"wamid"]) == (b"accepted", b"order-1", record.wamid.encode())
    assert event[b"extra"] == b'{"callback_data": "order=1"}'


async def test_a_known_key_is_recognised_hours_later_and_posted_once(cell: Cell) -> None:
    await cell.work()
    await cell.send("once")
    await cell.becomes("once", "accepted")
    ticket = await cell.client.send(cell.message("once"))
    assert (ticket.duplicate, ticket.state) == (True, "accepted")
    await cell.send("after")
    await cell.becomes("after", "accepted")
    assert len(cell.posts("once")) == 1


async def test_a_key_is_recognised_while_its_post_is_in_flight(held_cell: Cell, holder: Holder) -> None:
    await held_cell.work()
    await held_cell.send("flying")
    await held_cell.becomes("flying", "sending")
    ticket = await held_cell.client.send(held_cell.message("flying"))
    assert (ticket.duplicate, ticket.state) == (True, "sending")
    holder.open.set()
    await held_cell.becomes("flying", "accepted")
    assert len(held_cell.posts("flying")) == 1


async def test_urgent_goes_first_and_bulk_last(cell: Cell) -> None:
    for priority in ("bulk", "normal", "urgent"):
        await cell.send_all([f"{priority}-{i}" for i in range(20)], priority=priority)
    await cell.work()
    await cell.all_become([f"bulk-{i}" for i in range(20)], "accepted")
    order = [str(post["key"]).split("-")[0] for post in cell.posts()]
    assert order == ["urgent"] * 20 + ["normal"] * 20 + ["bulk"] * 20


async def test_a_message_is_not_posted_before_its_time(cell: Cell) -> None:
    await cell.work()
    due_at = datetime.now(UTC) + timedelta(seconds=0.6)
    await cell.send("soon", not_before=due_at.isoformat())
    await cell.send("later", not_before="2222-01-01T00:00:00Z")
    await cell.becomes("soon", "accepted")
    assert datetime.now(UTC) >= due_at
    assert (await cell.record("later")).cause in {"not_before", "no_worker"}
    assert cell.posts("later") == []


async def test_a_message_whose_time_has_run_out_is_expired_and_never_posted(cell: Cell) -> None:
    await cell.send("late", expires_at="2001-01-01T00:00:00Z")
    await cell.work()
    await cell.becomes("late", "expired")
    assert cell.posts("late") == []


async def test_a_pair_limit_snoozes_one_message_and_leaves_the_gate_open(cell: Cell) -> None:
    cell.simulator.rules.add(AnswerRule(code=131056, to="+15551234568"))
    await cell.work()
    await cell.send("pair", to="+15551234568")
    await cell.send("other")
    await cell.becomes("other", "accepted")

    async def waits() -> bool:
        return (await cell.record("pair")).cause == "pair"

    await eventually(waits)
    assert (await cell.record("pair")).attempts == 0
    assert await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "streak") in {None, b"0"}


@pytest.mark.parametrize("code", [4, 130429, 131057])  # all codes are in tests/policy
async def test_throttling_closes_the_gate_and_costs_no_attempt(cell: Cell, code: int) -> None:
    cell.simulator.rules.add(AnswerRule(code=code, count=2))
    await cell.work()
    await cell.send("throttled")
    record = await cell.becomes("throttled", "accepted")
    assert record.attempts == 1
    assert [post["code"] for post in cell.posts()] == [code, code, None]


async def test_a_half_open_gate_lets_one_message_of_the_highest_lane_through_first(cell: Cell) -> None:
    cell.simulator.set_latency(100)
    await cell.send_all([f"bulk-{i}" for i in range(6)], priority="bulk")
    await cell.send("urgent", priority="urgent")
    until_us = round((time.time() + 0.2) * 1_000_000)
    await cell.redis.hset(f"{cell.prefix}gate:{OTP}", mapping={"streak": 1, "until": until_us, "why": "throttled"})
    await cell.work()
    await cell.all_become([f"bulk-{i}" for i in range(6)], "accepted")
    posts = cell.posts()
    assert posts[0]["key"] == "urgent"
    # the others waited for the answer to the first
    assert posts[1]["arrived_ms"] - posts[0]["arrived_ms"] >= 99  # type: ignore[operator]


@pytest.mark.parametrize("code", [0, 190, 131031])  # all codes are in tests/policy
async def test_trouble_with_the_credential_leaves_the_message_and_a_new_token_opens_at_once(
    cell: Cell, code: int
) -> None:
    cell.simulator.rules.add(AnswerRule(code=code))
    await cell.work()
    await cell.send("kept")

    async def blocked() -> bool:
        return (await cell.record("kept")).cause == "blocked"

    await eventually(blocked)
    assert (await cell.record("kept")).attempts == 0
    await cell.held()
    for number in (OTP, SHOP):  # with another number's token Meta would say that there is no such number
        cell.simulator.add_number(number, SimulatedNumber(token="EAAGnew", rate=UNPACED))
    cell.simulator.rules.clear()
    cell.token_file.write_text("EAAGnew")
    record = await cell.becomes("kept", "accepted")
    assert record.attempts == 1


async def test_a_refusal_kills_that_message_alone_and_keeps_it_for_a_person(cell: Cell) -> None:
    cell.simulator.rules.add(AnswerRule(code=132000, to="+15551234568"))
    await cell.work()
    await cell.send_all(["bad"], to="+15551234568")
    await cell.send("good")
    await cell.becomes("good", "accepted")
    record = await cell.becomes("bad", "dead")
    assert (record.cause, record.attempts, record.error[:6]) == ("rejected", 1, "132000")
    assert await cell.redis.zscore(f"{cell.prefix}dead", "bad") is not None
    assert await cell.redis.exists(f"{cell.prefix}body:bad")


@pytest.mark.parametrize(
    "fault",
    [
        *("reset_before", "reset_after", "close_after", "hang_before", "hang_after", "error_5xx", "bare_5xx_after"),
        *("html", "empty_200", "half_head", "half_body", "redirect"),
    ],
)
async def test_what_is_not_proved_unsent_is_uncertain_and_never_posted_again(cell: Cell, fault: str) -> None:
    cell.simulator.rules.add(AnswerRule(fault=fault, to="+15551234568"))
    await cell.work()
    await cell.send("doubt", to="+15551234568", priority="urgent")
    record = await cell.becomes("doubt", "uncertain")
    assert record.attempts == 1
    await cell.send("after")
    await cell.becomes("after", "accepted")
    assert len(cell.posts("doubt")) == 1


async def test_an_unreachable_endpoint_costs_no_attempt(cell: Cell) -> None:
    await cell.simulator.stop_listening()
    await cell.work()
    await cell.send("patient")

    async def blocked() -> bool:
        return (await cell.record("patient")).cause == "blocked"

    await eventually(blocked)
    await cell.simulator.listen_again()
    record = await cell.becomes("patient", "accepted")
    assert record.attempts == 1


async def test_five_uncertain_answers_in_a_row_close_the_gate(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.rules.add(AnswerRule(fault="reset_before", number=OTP))
    async with open_cell(
        server.url, tmp_path, simulator, **SHORT, in_flight_per_number=1
    ) as cell:  # one after the other
        await cell.send_all([f"m{i}" for i in range(30)], priority="bulk")
        await cell.work()

        async def closed() -> bool:
            return bool(await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "why") == b"uncertain")

        await eventually(closed)
        await cell.held()
        await cell.send("after", number=SHOP)
        await cell.becomes("after", "accepted")
        # the sixth is claimed before the fifth is settled, then one at a time tries whether the endpoint is well again
        assert 5 <= len(cell.posts()) - 1 < 15
        assert await cell.redis.zcard(f"{cell.prefix}lane:{OTP}:2") > 15


async def test_a_number_that_hangs_does_not_delay_another(server: Server, simulator: Simulator, tmp_path: Path) -> None:
    """All of the second number's messages are accepted before any of the first's is given up."""
    simulator.rules.add(AnswerRule(fault="hang_before", number=OTP))
    async with open_cell(server.url, tmp_path, simulator, **{**SHORT, "http_timeout_s": 300.0}) as cell:
        await cell.send_all([f"hang-{i}" for i in range(300)], number=OTP)
        await cell.work()
        await posted(cell, 1)
        for i in range(40):
            await cell.send(f"free-{i}", number=SHOP)
            await cell.becomes(f"free-{i}", "accepted")
        hanging = {str(post["key"]) for post in cell.posts() if post["number"] == OTP}
        assert hanging
        assert {(await cell.record(key)).state for key in hanging} == {"sending"}
        await simulator.stop()  # or the end would wait for what hangs


async def test_a_backlog_goes_out_whole_and_is_claimed_at_the_rate(cell: Cell) -> None:
    """How it arrives, and how much of the rate is used, is measured by the benchmark: `pacing`."""
    cell.simulator.set_latency(50, 20)
    keys = [f"m{i}" for i in range(200)]
    await cell.send_all(keys, priority="bulk")
    await cell.work()
    await cell.all_become(keys, "accepted")
    report = cell.simulator.ledger.report()
    assert (report["requests"], report["overlapping"]) == (200, {"count": 0, "keys": []})
    await cell.were_claimed_at(keys, RATE)


async def test_a_stopped_number_waits_and_goes_on_when_the_stop_is_lifted(cell: Cell) -> None:
    app = await cell.work()
    connection = app.connection
    await connection.pipeline.run(stops.add(connection.cell, Stop(f"number:{OTP}", "hold", "test", "me")))
    await cell.send("held")
    await cell.send("free", number=SHOP)
    await cell.becomes("free", "accepted")
    assert (await cell.record("held")).cause == f"stopped:number:{OTP}"
    await connection.pipeline.follow(stops.lift(connection.cell, f"number:{OTP}", [OTP]))
    await cell.becomes("held", "accepted")


async def test_a_worker_with_the_new_token_serves_what_is_blocked_for_the_old_one(cell: Cell, tmp_path: Path) -> None:
    for number in (OTP, SHOP):
        cell.simulator.add_number(number, SimulatedNumber(token="EAAGnew", rate=UNPACED))
    await cell.work()  # with the old token
    keys = [f"m{i}" for i in range(20)]
    await cell.send_all(keys)

    async def blocked() -> bool:
        return bool(await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "why") == b"credential")

    await eventually(blocked)
    await cell.held()
    (tmp_path / "new").mkdir()
    numbers_file, token_file = write_numbers(tmp_path / "new")
    token_file.write_text("EAAGnew")
    await cell.work(numbers_file)
    await cell.all_become(keys, "accepted")


async def test_a_401_has_the_token_files_read_again(cell: Cell) -> None:
    app = await cell.work()
    before = cell.token_file.stat()
    for number in (OTP, SHOP):
        cell.simulator.add_number(number, SimulatedNumber(token=TOKEN[::-1], rate=UNPACED))
    cell.token_file.write_text(TOKEN[::-1])
    os.utime(cell.token_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await app.numbers.refresh()).any is False
    await cell.send("waits")
    await cell.becomes("waits", "accepted")
