"""What the exporter says of a cell is what is in it."""

import math
from typing import Any

import pytest
from redis.asyncio import Redis

from dispatcher.exporter.collector import COUNTERS, FAMILIES
from dispatcher.meta.webhook import Unreadable
from dispatcher.settings import Number
from dispatcher.store import numbers, queue, receipts, stops, work
from tests.exporter.conftest import Scrape, scraped
from tests.observe import docs
from tests.servers import OwnServer, old_server_path
from tests.store.cell import (
    HOUR_US,
    NUMBER,
    OTHER,
    OWNER,
    RATE,
    SECOND_US,
    TOKEN,
    WABA,
    Cell,
    published,
    refill_rate,
    template,
)
from tests.store.test_poison import poison

LANES = ("urgent", "normal", "bulk")
KINDS = ("all", "number", "lane", "waba", "credential", "template", "campaign")
EMPTY = published("3", "spare", 20.0, "")


async def register(cell: Cell, *given: Number, is_served: bool = True) -> None:
    given = given or (published(NUMBER, "otp-us", RATE, WABA), published(OTHER, "campaigns", 1000.0, ""))
    await cell.run(numbers.publish, given)
    if is_served:
        await cell.run(work.announce, OWNER, {number.id: TOKEN for number in given})


async def age(cell: Cell, number: str, priority: int, key: str, seconds: float) -> None:
    lane = cell.cell.lanes(number)[priority]
    await cell.redis.zadd(lane, {key: await cell.now() - round(seconds * SECOND_US)})


def family(scrape: Scrape, name: str, number: str) -> list[float | None]:
    return [scrape.value(name, number=number, lane=lane) for lane in LANES]


async def test_an_empty_cell_has_all_that_needs_no_number(cell: Cell) -> None:
    found = await scraped(cell.url)
    assert found.value("exporter_up") == 1
    assert found.value("numbers") == 0
    assert found.by("messages", "state") == dict.fromkeys(("sending", "uncertain", "parked", "dead", "waiting"), 0)
    assert found.by("cell_waiting", "lane") == found.by("cell_oldest_runnable_seconds", "lane")
    assert found.by("cell_waiting", "lane") == dict.fromkeys(LANES, 0)
    assert found.by("processes", "kind") == {"worker": 0, "door": 0}
    assert (found.value("exporter_scrape_seconds") or 0) > 0
    assert found.by("build_info", "version") != {}


async def test_every_metric_is_served_of_a_cell_with_something_of_everything(cell: Cell) -> None:
    await register(cell)
    await cell.queue("k1", campaign="spring")
    await cell.redis.xadd(cell.key("events"), {"v": "1"})
    await cell.redis.xgroup_create(cell.key("events"), "crm", "0")
    found = await scraped(cell.url)
    counters = {f"{each.name}_total" for each in COUNTERS}
    assert found.names == {each.name for each in FAMILIES} | counters | {"dispatcher_build_info"}
    assert (found.value("events_lag_seconds", stream="events", group="crm") or -1) >= 0


async def test_what_waits_is_counted_by_number_and_lane(cell: Cell) -> None:
    await register(cell)
    began = await cell.now()
    for priority, count in zip(LANES, (1, 3, 5), strict=True):
        await cell.queue(*(f"{priority}-{n}" for n in range(count)), priority=priority)
    await cell.queue("later", number=OTHER, not_before="2222-01-01T00:00:00Z")
    await age(cell, NUMBER, 2, "bulk-3", 60)
    found = await scraped(cell.url)
    assert family(found, "queue_waiting", NUMBER) == [1, 3, 5]
    assert family(found, "queue_waiting", OTHER) == [0, 1, 0]
    assert found.by("cell_waiting", "lane") == {"urgent": 1, "normal": 4, "bulk": 5}
    assert found.value("messages", state="waiting") == 10
    oldest = family(found, "queue_oldest_runnable_seconds", NUMBER)
    took_s = (await cell.now() - began) / SECOND_US
    assert 60 <= (oldest[2] or 0) <= 60 + took_s
    assert all(0 <= (each or 0) <= took_s for each in oldest[:2])
    assert family(found, "queue_oldest_runnable_seconds", OTHER) == [0, 0, 0]
    assert found.value("cell_oldest_runnable_seconds", lane="bulk") == oldest[2]


async def test_the_wait_is_what_is_in_this_and_higher_lanes_by_the_rate(cell: Cell) -> None:
    await register(cell)
    for priority, count in zip(LANES, (1, 3, 5), strict=True):
        await cell.queue(*(f"{priority}-{n}" for n in range(count)), priority=priority)
    found = await scraped(cell.url)
    refill = refill_rate(RATE)
    assert family(found, "queue_estimated_wait_seconds", NUMBER) == pytest.approx([1 / refill, 4 / refill, 9 / refill])
    assert family(found, "queue_estimated_wait_seconds", OTHER) == [0, 0, 0]
    assert found.by("number_rate_per_second", "number", "kind") == {
        (NUMBER, "configured"): RATE,
        (NUMBER, "effective"): pytest.approx(refill),
        (OTHER, "configured"): 1000,
        (OTHER, "effective"): pytest.approx(960),
    }


async def test_the_rate_of_a_number_is_the_one_in_its_gate(cell: Cell) -> None:
    await register(cell)
    await cell.set_gate(rate=33.5)
    await cell.redis.delete(cell.cell.gate(OTHER))
    found = await scraped(cell.url)
    rates = {(NUMBER, "configured"): 33.5, (NUMBER, "effective"): pytest.approx(refill_rate(33.5))}
    nothing = {(OTHER, "configured"): 0, (OTHER, "effective"): 0}
    assert found.by("number_rate_per_second", "number", "kind") == {**rates, **nothing}


async def test_numbers_are_named(cell: Cell) -> None:
    await register(cell)
    found = await scraped(cell.url)
    assert found.value("numbers") == 2
    assert set(found.by("number_info", "number", "name", "waba")) == {
        (NUMBER, "otp-us", WABA), (OTHER, "campaigns", ""),
    }  # fmt: skip


async def test_a_number_that_nobody_has_a_token_for_sends_nothing(cell: Cell) -> None:
    await register(cell, is_served=False)
    await cell.queue("k1")
    found = await scraped(cell.url)
    assert found.value("number_rate_per_second", number=NUMBER, kind="effective") == 0
    assert family(found, "queue_estimated_wait_seconds", NUMBER) == [0, math.inf, math.inf]
    await cell.run(work.announce, "process-8", {OTHER: TOKEN})
    await cell.run(work.announce, "process-9", {NUMBER: TOKEN})
    found = await scraped(cell.url)
    assert found.value("processes", kind="worker") == 2
    assert found.value("number_rate_per_second", number=NUMBER, kind="effective") == pytest.approx(192)
    assert found.value("number_rate_per_second", number=OTHER, kind="effective") == pytest.approx(960)


# gates and stops


async def gate_after(cell: Cell, **fields: Any) -> tuple[tuple[str, str], Any]:
    await cell.set_gate(**fields)
    found = await scraped(cell.url)
    [(gate, _)] = [item for item in found.by("number_gate", "number", "state", "why").items() if item[0][0] == NUMBER]
    return gate[1:], found.value("number_rate_per_second", number=NUMBER, kind="effective")


@pytest.mark.parametrize("why", ["throttled", "credential", "unreachable", "uncertain", "garbage"])
async def test_a_block_is_shown_with_its_cause_and_ends(cell: Cell, why: str) -> None:
    await register(cell)
    await cell.queue("k1")
    shown = "other" if why == "garbage" else why
    began = await cell.now()
    fields = {"streak": 1, "until": began + HOUR_US, "why": why, "token": TOKEN}
    assert await gate_after(cell, **fields) == (("blocked", shown), 0)
    found = await scraped(cell.url)
    wait = found.value("queue_estimated_wait_seconds", number=NUMBER, lane="normal")
    assert 3600 - (await cell.now() - began) / SECOND_US <= (wait or 0) <= 3600
    assert found.by("cell_gates", "state") == {"open": 1, "blocked": 1, "half_open": 0, "stopped": 0}
    assert await gate_after(cell, until=1) == (("half_open", shown), pytest.approx(192))
    assert await gate_after(cell, streak=0) == (("open", ""), pytest.approx(192))


@pytest.mark.parametrize(
    ("scope", "kind"),
    [("all", "all"), (f"number:{NUMBER}", "number"), (f"waba:{WABA}", "waba"), (f"credential:{TOKEN}", "credential")],
)
async def test_a_stopped_number_sends_nothing_until_it_is_lifted(cell: Cell, scope: str, kind: str) -> None:
    await register(cell)
    await cell.queue("k1")
    await cell.stop(scope)
    assert await gate_after(cell, token=TOKEN) == (("stopped", kind), 0)
    found = await scraped(cell.url)
    assert found.value("queue_estimated_wait_seconds", number=NUMBER, lane="bulk") == math.inf
    assert found.value("stops", scope_kind=kind, action="hold") == 1
    await cell.run(stops.lift, scope, [NUMBER])
    assert await gate_after(cell, token=TOKEN) == (("open", ""), pytest.approx(192))


async def test_a_stopped_lane_waits_alone(cell: Cell) -> None:
    await register(cell)
    await cell.queue("k1", priority="normal")
    await cell.stop(f"lane:{NUMBER}:bulk", "cancel")
    found = await scraped(cell.url)
    assert found.value("number_gate", number=NUMBER, state="open", why="") == 1
    refill = refill_rate(RATE)
    assert family(found, "queue_estimated_wait_seconds", NUMBER) == [0, pytest.approx(1 / refill), math.inf]


async def test_stops_are_counted_by_kind_and_action_while_they_bind(cell: Cell) -> None:
    await cell.stop("campaign:spring")
    await cell.stop("campaign:autumn")
    await cell.stop(f"template:{WABA}:shipped", "cancel")
    await cell.redis.hset(cell.key("stops"), "all", '{"action": "hold", "until": 1}')
    found = (await scraped(cell.url)).by("stops", "scope_kind", "action")
    assert set(found) == {(kind, action) for kind in KINDS for action in ("hold", "cancel")}
    assert {key: count for key, count in found.items() if count} == {
        ("campaign", "hold"): 2,
        ("template", "cancel"): 1,
    }


# messages, campaigns, the server


async def test_messages_are_counted_by_state(cell: Cell) -> None:
    await register(cell)
    await cell.queue("parked", content=template())
    await cell.stop(f"template:{WABA}:shipped")
    await cell.claim_all()
    await cell.claimed("sending")
    await cell.settle(await cell.claimed("uncertain"), "uncertain")
    await cell.settle(await cell.claimed("dead"), "reject")
    await cell.settle(await cell.claimed("accepted"), "accepted")
    await cell.queue("waiting")
    found = await scraped(cell.url)
    assert found.by("messages", "state") == dict.fromkeys(("sending", "uncertain", "parked", "dead", "waiting"), 1)


async def test_the_20_campaigns_that_most_is_left_of_are_shown(cell: Cell) -> None:
    for n in range(25):
        await cell.queue(*(f"c{n}-{i}" for i in range(n + 1)), campaign=f"c{n}")
    await cell.run(queue.cancel, "c24-0")
    found = (await scraped(cell.url)).by("campaign_messages", "campaign", "state")
    assert {campaign for campaign, _ in found} == {f"c{n}" for n in range(5, 25)}
    states = {state: count for (campaign, state), count in found.items() if campaign == "c24"}
    assert states == {"waiting": 24, "accepted": 0, "expired": 0, "cancelled": 1, "suppressed": 0, "dead": 0}


@pytest.mark.parametrize("old", [False, True], ids=["suite", "redis-6.2"])
async def test_the_server_is_shown_as_it_is_set_up(own_server: OwnServer, old: bool) -> None:
    options = {"maxmemory": "100mb", "maxmemory-policy": "noeviction", "appendonly": "yes"}
    server = own_server(old_server_path() if old else None, options=options)
    found = await scraped(server.url)
    memory = found.by("redis_memory_bytes", "kind")
    assert memory["max"] == 100 * 2**20
    assert 0 < memory["used"] < memory["max"]
    switches = ("redis_noeviction", "redis_aof_enabled", "redis_persistence_ok", "exporter_up")
    assert [found.value(name) for name in switches] == [1, 1, 1, 1]
    async with Redis.from_url(server.url, protocol=2) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await redis.config_set("appendonly", "no")
    found = await scraped(server.url)
    assert [found.value(name) for name in switches] == [0, 0, 1, 1]


async def test_what_could_not_be_read_and_who_reads_late_is_shown(cell: Cell) -> None:
    await cell.run(receipts.keep_unreadable, [Unreadable("no JSON", "x", is_receipt=True)] * 3)
    began = await cell.now()
    await cell.redis.xadd(cell.key("events"), {"v": "1"}, id=f"{(began - HOUR_US) // 1000}-0")
    await cell.redis.xgroup_create(cell.key("events"), "crm", "0")
    found = await scraped(cell.url)
    assert found.value("unreadable_webhooks") == 3
    lag_s = found.value("events_lag_seconds", stream="events", group="crm") or 0
    assert 3600 <= lag_s <= 3601 + (await cell.now() - began) / SECOND_US


async def test_a_look_asks_for_nothing_twice(cell: Cell) -> None:
    await register(cell)
    await cell.redis.config_resetstat()
    await scraped(cell.url)
    stats = await cell.redis.info("commandstats")
    assert stats["cmdstat_llen"]["calls"] == 2  # of refused jobs, and of what could not be read


async def test_an_open_door_is_counted(cell: Cell) -> None:
    now = await cell.now()
    await cell.redis.zadd(cell.key("doors"), {"open": now + HOUR_US, "gone": now - 60 * SECOND_US})
    assert (await scraped(cell.url)).value("processes", kind="door") == 1


async def test_what_happened_is_counted_and_each_kind_is_there_from_the_start(cell: Cell) -> None:
    """An increase from nothing to 1 is none to Prometheus."""
    found = await scraped(cell.url)
    served = {counter.name: found.figures[f"{counter.name}_total"] for counter in COUNTERS}
    assert {name: len(figures) for name, figures in served.items()} == {
        "dispatcher_enqueued": 3, "dispatcher_settled": 10, "dispatcher_uncertain": 2, "dispatcher_resends": 2,
        "dispatcher_duplicate_acceptances": 1, "dispatcher_gate_closings": 4,
    }  # fmt: skip
    assert {figure for figures in served.values() for figure in figures.values()} == {0}
    await cell.settle(await cell.claimed("k1"), "accepted")
    await cell.settle(await cell.claimed("k2", priority="bulk"), "reject", gate="close", why="credential")
    found = await scraped(cell.url)
    assert found.by("enqueued_total", "lane") == {"urgent": 0, "normal": 1, "bulk": 1}
    assert found.value("settled_total", state="accepted", cause="none") == 1
    assert found.value("settled_total", state="dead", cause="rejected") == 1
    assert found.value("gate_closings_total", why="credential") == 1


# poison

POISONED = [
    "numbers", "stops", "processes", "due", "doors", "campaigns", "campaign:spring", "sending", "uncertain", "dead",
    "parked", "refused", "unreadable", "events", "inbound", f"gate:{NUMBER}", f"lane:{NUMBER}:0", f"lane:{NUMBER}:2",
    f"serves:{OWNER}",
]  # fmt: skip


@pytest.mark.parametrize("name", POISONED)
@pytest.mark.parametrize("kind", ["string", "list", "set", "zset", "hash", "stream"])
async def test_a_poisoned_key_spoils_at_most_its_own_part(cell: Cell, name: str, kind: str) -> None:
    await register(cell, published(NUMBER, "otp-us", RATE, WABA), EMPTY)
    await cell.queue("k1", campaign="spring")
    await poison(cell, cell.key(name), kind)
    found = await scraped(cell.url)
    assert found.value("exporter_up") == 1
    assert found.value("messages", state="sending") is not None
    if name != "numbers":
        assert found.value("queue_waiting", number=NUMBER, lane="normal") == 1
        assert found.value("number_gate", number="3", state="open", why="") == 1


@pytest.mark.parametrize("value", ["", "garbage", "nan", "inf", "-5", "1e300", b"\xff\t\n"])
async def test_a_gate_of_nonsense_is_some_gate(cell: Cell, value: Any) -> None:
    await register(cell)
    await cell.set_gate(**dict.fromkeys(("streak", "until", "probe", "why", "token", "rate"), value))
    found = await scraped(cell.url)
    assert found.value("exporter_up") == 1
    assert len(found.by("number_gate", "number")) == 2


@pytest.mark.parametrize("row", ["", "garbage", '{"name": null, "waba": 5}', '{"name": NaN}', b"\xff"])
async def test_a_number_whose_row_cannot_be_read_is_shown(cell: Cell, row: Any) -> None:
    await register(cell)
    await cell.redis.hset(cell.key("numbers"), NUMBER, row)
    await cell.queue("k1")
    found = await scraped(cell.url)
    assert found.value("queue_waiting", number=NUMBER, lane="normal") == 1


async def test_every_label_value_is_documented(cell: Cell) -> None:
    await register(cell)
    await cell.queue("k1", campaign="spring")
    await cell.set_gate(streak=1, until=await cell.now() + HOUR_US, why="throttled")
    await cell.stop(f"number:{OTHER}")
    found = await scraped(cell.url)
    set_up = {"number", "name", "waba", "campaign", "group", "version", "python"}
    for name in found.names:
        for labels in found.figures[name]:
            for label, value in labels:
                assert label in set_up or not value or value in docs.values(label, name), (name, label, value)
