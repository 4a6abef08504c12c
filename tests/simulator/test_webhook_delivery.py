"""How webhooks travel: batches, retries, duplicates, several at a time, and in the end no task."""

import asyncio
from itertools import pairwise
from typing import Any

import httpx
import pytest

from dispatcher.simulator.webhook_delivery import retry_pause_ms
from tests.simulator.receiver import WAIT_S, receiving
from tests.simulator.stage import QUICK, Stage, staged
from tests.simulator.wire import PATH, Wire, headers, raw, text_to

NEVER_MS = 3_600_000.0


async def post_many(stage: Stage, count: int, first: int = 0) -> None:
    """Post messages as fast as it goes."""
    wire = await Wire.to(stage.simulator.url)
    wire.send(b"".join(raw(text_to(key=str(first + place))) for place in range(count)))
    for _ in range(count):
        await wire.answer()
    await wire.close()


async def test_updates_gather_up_to_a_number() -> None:
    async with staged(read=0, batch_most=7, batch_ms=NEVER_MS) as stage:
        await post_many(stage, 10)
        await stage.until(lambda page: page["waiting"] == 20 - 2 * 7)
        assert [len(change["value"]["statuses"]) for change in stage.receiver.changes] == [7, 7]
        assert (await stage.page())["made"] == 2


async def test_updates_gather_for_a_time() -> None:
    async with staged(read=0, batch_most=1000, batch_ms=100) as stage:
        await post_many(stage, 10)  # in one piece
        await stage.settle()
        assert [len(change["value"]["statuses"]) for change in stage.receiver.changes] == [20]


async def test_no_webhook_is_larger_than_metas() -> None:
    async with staged(batch_most=1000, batch_ms=NEVER_MS) as stage:
        for _ in range(200):
            await stage.post(text_to(biz_opaque_callback_data="😀" * 512))
        await stage.receiver.until(1)
        (post,) = stage.receiver.posts
        assert 2_500_000 < len(post.body) <= 3_000_000
        await stage.until(lambda page: page["statuses"] == {"sent": 200, "delivered": 200, "read": 200})


@pytest.mark.parametrize("status", [500, 404, 204, 302, 0])
async def test_what_is_not_answered_200_is_sent_again_byte_for_byte(status: int) -> None:
    async with staged(batch_most=1000, batch_ms=20) as stage:
        stage.receiver.statuses = [status, status, status]
        await stage.post(text_to())
        await stage.settle()
        posts = stage.receiver.posts
        assert len(posts) == 4
        assert len({post.body for post in posts}) == 1
        assert len({post.fields["x-hub-signature-256"] for post in posts}) == 1
        assert all(post.is_signed for post in posts)
        page = await stage.page()
        assert (page["made"], page["delivered"], page["tries"], page["retried"], page["not_200"]) == (1, 1, 4, 3, 3)
        assert page["by_answer"] == {str(status or "none"): 3, "200": 1}


async def test_pauses_grow_after_the_first() -> None:
    async with staged(retry_ms=100, retry_growth=2, retry_most_ms=150, lost_delivered=1, lost_read=1) as stage:
        assert [retry_pause_ms(stage.simulator.webhooks.settings, tries) for tries in (1, 2, 3, 4)] == [
            0,
            100,
            150,
            150,
        ]
        stage.receiver.statuses = [500] * 4
        await stage.post(text_to())
        await stage.settle()
        at_ms = [post.at_s * 1000 for post in stage.receiver.posts]
        pauses_ms = [later - earlier for earlier, later in pairwise(at_ms)]
        assert [pause >= least for pause, least in zip(pauses_ms, (0, 99, 149, 149), strict=True)] == [True] * 4


@pytest.mark.parametrize(("limit", "tries"), [({"tries_most": 3}, 3), ({"give_up_s": WAIT_S, "retry_ms": NEVER_MS}, 2)])
async def test_it_gives_up(limit: dict[str, Any], tries: int) -> None:
    async with staged(batch_ms=20, **{"retry_most_ms": NEVER_MS, **limit}) as stage:
        stage.receiver.statuses = [500] * 100
        await post_many(stage, 1)
        await stage.settle()
        page = await stage.page()
        assert (page["given_up"], page["delivered"], page["waiting"], page["queued"]) == (page["made"], 0, 0, 0)
        assert len(stage.receiver.posts) == tries * page["made"]


async def test_a_receiver_that_hangs_is_left_and_tried_again() -> None:
    async with staged(timeout_ms=50, batch_ms=20) as stage:
        stage.receiver.statuses = [-1]
        await stage.post(text_to())
        await stage.receiver.until(1)
        await stage.control("webhooks", {"timeout_ms": WAIT_S * 1000})  # only who hangs is left
        await stage.settle()
        page = await stage.page()
        assert page["by_answer"]["none"] >= 1
        assert page["by_answer"]["200"] == page["made"]
        assert stage.receiver.connection_count >= 2


async def test_nobody_there_is_tried_again() -> None:
    async with receiving() as gone:
        pass
    async with staged(batch_ms=20, url=gone.url) as stage:
        await stage.post(text_to())
        assert await stage.control("webhooks/settle", {"timeout_s": 0.1}) == {
            "is_settled": False,
            "waiting": 3,
            "held": 0,
            "given_up": 0,
        }
        await stage.control("webhooks", {"url": stage.receiver.url})
        assert (await stage.control("webhooks/settle"))["is_settled"] is True
        assert len(stage.receiver.status_objects) == 3


async def test_duplicates_are_the_same_bytes() -> None:
    async with staged(duplicates=1, batch_most=1) as stage:
        await stage.post(text_to())
        await stage.settle()
        bodies = [post.body for post in stage.receiver.posts]
        assert len(bodies) == 6
        assert sorted(bodies[::2]) == sorted(bodies[1::2])
        page = await stage.page()
        assert (page["made"], page["duplicated"], page["delivered"], page["statuses"]["sent"]) == (3, 3, 6, 1)


async def test_several_travel_at_the_same_time_and_connections_are_kept() -> None:
    async with staged(connections=4, batch_most=1, lost_delivered=1, lost_read=1) as stage:
        stage.receiver.statuses = [-1, -1, -1]
        await post_many(stage, 20)
        await stage.receiver.until(20)
        assert stage.receiver.connection_count == 4
        page = await stage.until(lambda page: page["delivered"] == 17)
        assert (page["waiting"], page["queued"]) == (3, 3)


async def test_a_receiver_that_closes_after_each_answer_gets_each_webhook_once() -> None:
    async with staged(batch_most=1, connections=2) as stage:
        stage.receiver.keeps_alive = False
        await post_many(stage, 10)
        await stage.settle()
        assert (await stage.page())["delivered"] == 30
        assert len({post.body for post in stage.receiver.posts}) == len(stage.receiver.posts) == 30


async def test_the_ledger_knows_the_slowest_answer() -> None:
    async with staged(batch_ms=20) as stage:
        assert (await stage.page())["slowest_answer_ms"] is None
        await stage.post(text_to())
        await stage.settle()
        assert (await stage.page())["slowest_answer_ms"] > 0
        await stage.client.delete("/_ledger")
        for took_ms in (250, 251):
            stage.simulator.ledger.webhooks.answer(500, took_ms)
        page = await stage.page()
        assert (page["slowest_answer_ms"], page["over_250_ms"]) == (251, 0.5)


async def test_a_reset_forgets_the_past_and_not_what_waits() -> None:
    async with staged(sent_ms=60_000) as stage:
        await stage.post(text_to())
        await stage.client.delete("/_ledger")
        page = await stage.page()
        assert (page["waiting"], page["statuses"], page["tries"]) == (3, {}, 0)


async def test_an_end_with_webhooks_under_way_leaves_nothing_behind() -> None:
    async with staged(batch_most=1, connections=2) as stage:
        stage.receiver.statuses = [-1, 500, -1]
        await post_many(stage, 30)
        await stage.receiver.until(3)
        waiting = asyncio.ensure_future(stage.client.post("/_control/webhooks/settle", json={}))
        await stage.post(text_to(key="last"))
        async with asyncio.timeout(WAIT_S):
            await stage.simulator.stop()
        with pytest.raises(Exception, match="disconnected|closed|reset"):
            await waiting
        report: Any = stage.simulator.ledger.report()
        assert report["webhooks"]["waiting"] > 0


async def test_a_stopped_simulator_starts_again() -> None:
    async with staged(batch_ms=60_000) as stage:
        await stage.post(text_to())
        await stage.until(lambda page: page["statuses"] == {"sent": 1, "delivered": 1, "read": 1})
        await stage.simulator.stop()
        await stage.simulator.start()
        stage.simulator.webhooks.change(batch_ms=0)
        await stage.post(text_to(key="again"))
        await stage.settle()
        assert {status["biz_opaque_callback_data"] for status in stage.receiver.status_objects} == {"d1:1:again"}


async def test_a_process_of_its_own_sends_webhooks(simulator_process: str) -> None:
    async with (
        receiving() as receiver,
        httpx.AsyncClient(base_url=simulator_process, headers=headers(), trust_env=False, timeout=2 * WAIT_S) as client,
    ):
        order = {**QUICK, "url": receiver.url, "connections": 3}
        assert (await client.post("/_control/webhooks", json=order)).status_code == 200
        answers = [await client.post(PATH, json=text_to(key=str(place))) for place in range(50)]
        settled = (await client.post("/_control/webhooks/settle", json={"timeout_s": WAIT_S})).json()
        assert settled == {"is_settled": True, "waiting": 0, "held": 0, "given_up": 0}
        await client.post("/_control/webhooks", json={"url": None})
        wamids = {answer.json()["messages"][0]["id"] for answer in answers}
        assert {status["id"] for status in receiver.status_objects} == wamids
        assert len(receiver.status_objects) == 150
        assert all(post.is_signed for post in receiver.posts)


async def test_thousands_of_statuses_are_carried_and_hold_nobody_up() -> None:
    """The messages endpoint answers in between; how fast is measured by the benchmark: `edges`."""
    async with staged(connections=4, batch_most=200, batch_ms=20, sent_ms=5, delivered_ms=10) as stage:
        await asyncio.gather(*(post_many(stage, 250, first=250 * place) for place in range(8)))
        while stage.simulator.ledger.webhooks.waiting:
            assert (await stage.client.post(PATH, content=b"no message")).status_code == 400
        await stage.settle()
        assert len(stage.receiver.status_objects) == 6000
