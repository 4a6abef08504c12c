"""Enqueue: what a producer is told is queued stands in its lane, and a key is queued once."""

import pytest

from dispatcher.message.priority import LANE_DEFAULTS, LANE_OF, Priority
from dispatcher.store import queue, schema
from dispatcher.store.queue import Enqueued
from tests.store.cell import HOUR_US, NUMBER, OTHER, OWNER, SECOND_US, Cell, message, template, text

QUEUED = Enqueued("queued", "queued")


async def test_a_queued_message_is_in_its_lane_with_its_record_body_and_expiry(cell: Cell) -> None:
    before = await cell.now()
    given = message(
        "k1", priority="bulk", content=template("spring_sale"), campaign="spring", category="marketing", ttl_s=60
    )
    assert await cell.enqueue(given) == [QUEUED]
    after = await cell.now()
    record = await cell.record()
    due = int(record.pop("due"))
    assert before <= due <= after
    assert len(record.pop("fingerprint")) == 16
    assert record == {
        "state": "queued", "number": NUMBER, "to": "+15551234567", "priority": "2", "category": "marketing",
        "template": "spring_sale", "campaign": "spring", "enqueued": str(due), "expires": str(due + 60 * SECOND_US),
        "on_uncertain": "evidence",
    }  # fmt: skip
    assert await cell.sets_of("k1") == {f"lane:{NUMBER}:2", "expiry"}
    assert await cell.score(f"lane:{NUMBER}:2", "k1") == due
    assert await cell.score("expiry", "k1") == due + 60 * SECOND_US
    assert await cell.score("due", NUMBER) == due
    assert await cell.redis.get(cell.key("body:k1")) == (
        b'{"messaging_product":"whatsapp","recipient_type":"individual","to":"+15551234567","type":"template",'
        b'"template":{"name":"spring_sale","language":{"code":"en_US"}}'
    )


async def test_no_name_of_a_key_goes_past_the_cell(cell: Cell) -> None:
    await cell.queue("k1", callback_data="order=1")
    names = {name.decode() for name in await cell.redis.keys("*")}
    assert names == {
        f"dispatch:{{main}}:{name}"
        for name in ("body:k1", "counts", "due", "expiry", "extra:k1", f"lane:{NUMBER}:1", "msg:k1")
    }  # fmt: skip


async def test_messages_of_one_call_keep_their_order(cell: Cell) -> None:
    names = [f"k{n}" for n in range(50, 0, -1)]
    await cell.queue(*names)
    await cell.queue("later")
    assert await cell.lane() == [*names, "later"]


@pytest.mark.parametrize("priority", list(Priority))
async def test_a_message_lives_as_long_as_its_lane_says(cell: Cell, priority: Priority) -> None:
    await cell.queue("k1", priority=priority)
    record = await cell.record()
    ttl_s = LANE_DEFAULTS[priority].ttl_s
    assert int(record["expires"]) - int(record["due"]) == ttl_s * SECOND_US
    assert record["on_uncertain"] == LANE_DEFAULTS[priority].on_uncertain
    assert await cell.lane(LANE_OF[priority]) == ["k1"]


async def test_not_before_is_its_place_and_where_its_time_to_live_begins(cell: Cell) -> None:
    await cell.queue("k1", not_before="2222-01-01T00:00:00.000001Z", ttl_s=60)
    at = 7_952_342_400_000_001
    assert await cell.score(f"lane:{NUMBER}:1", "k1") == at
    assert await cell.score("expiry", "k1") == at + 60 * SECOND_US
    assert await cell.score("due", NUMBER) == at


async def test_not_before_in_the_past_is_now(cell: Cell) -> None:
    before = await cell.now()
    await cell.queue("k1", not_before="2001-01-01T00:00:00Z")
    assert int((await cell.record())["due"]) >= before


async def test_expires_at_holds_to_the_microsecond(cell: Cell) -> None:
    await cell.queue("k1", expires_at="2222-01-01T00:00:00.000001Z")
    assert await cell.score("expiry", "k1") == 7_952_342_400_000_001


async def test_a_known_key_is_a_duplicate_and_changes_nothing(cell: Cell) -> None:
    await cell.queue("k1")
    before = await cell.record(), await cell.lane()
    other_lane = message("k1", priority="urgent", number=OTHER, campaign="spring", callback_data="x")
    assert await cell.enqueue(other_lane) == [Enqueued("duplicate", "queued")]
    assert (await cell.record(), await cell.lane()) == before
    assert await cell.members("due") == [NUMBER]


@pytest.mark.parametrize("change", [{"content": text("Other")}, {"to": "+15557654321"}])
async def test_the_same_key_with_another_recipient_or_content_is_a_conflict(cell: Cell, change: dict[str, str]) -> None:
    await cell.queue("k1")
    before = await cell.record()
    assert await cell.enqueue(message("k1", **change)) == [Enqueued("conflict", "queued")]
    assert await cell.record() == before


async def test_each_message_of_a_call_stands_for_itself(cell: Cell) -> None:
    await cell.queue("k1")
    assert await cell.enqueue(message("k2"), message("k1"), message("k1", content=text("x")), message("k2")) == [
        QUEUED, Enqueued("duplicate", "queued"), Enqueued("conflict", "queued"), Enqueued("duplicate", "queued"),
    ]  # fmt: skip
    assert await cell.lane() == ["k1", "k2"]


async def test_a_key_is_recognised_in_every_state(cell: Cell) -> None:
    async def states() -> list[str]:
        words = await cell.enqueue(*(message(name) for name in ("sent", "dead", "cancelled", "flying", "unsure")))
        assert {entry.word for entry in words} == {"duplicate"}
        return [entry.state for entry in words]

    await cell.queue("sent", "dead", "flying", "unsure")
    claimed = {entry.key: entry for entry in await cell.claim_all()}
    await cell.queue("cancelled")
    await cell.run(queue.cancel, "cancelled")
    await cell.settle(claimed["sent"], "accepted")
    await cell.settle(claimed["dead"], "reject")
    await cell.settle(claimed["unsure"], "uncertain")
    assert await states() == ["accepted", "dead", "cancelled", "sending", "uncertain"]


async def test_a_new_message_makes_a_waiting_number_due_at_once(cell: Cell) -> None:
    await cell.queue("later", not_before="2222-01-01T00:00:00Z")
    await cell.queue("now")
    assert (await cell.score("due", NUMBER) or 0) <= await cell.now()


async def test_a_later_message_does_not_move_a_number_back(cell: Cell) -> None:
    await cell.queue("now")
    at = await cell.score("due", NUMBER)
    await cell.queue("later", not_before="2222-01-01T00:00:00Z")
    assert await cell.score("due", NUMBER) == at


async def test_the_lease_of_a_living_owner_is_left_alone(cell: Cell) -> None:
    await cell.queue("k1")
    assert await cell.take() == [NUMBER]
    lease = await cell.score("due", NUMBER)
    await cell.queue("k2")
    assert await cell.score("due", NUMBER) == lease


async def test_an_owner_whose_lease_has_ended_keeps_nobody_waiting(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.take()
    await cell.end_ownership()
    await cell.queue("k2")
    assert await cell.take("process-2") == [NUMBER]


async def test_callback_data_and_trace_lie_beside_the_body(cell: Cell) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await cell.queue("k1", callback_data="order=4411 ü", trace=trace)
    extra = await cell.redis.get(cell.key("extra:k1"))
    assert extra == b'{"callback_data": "order=4411 \\u00fc", "trace": "' + trace.encode() + b'"}'
    assert (await cell.record())["extra"] == "1"


async def test_labels_never_exceed_64_bytes(cell: Cell) -> None:
    await cell.queue("k1", content=template("ü" * 512), to="US." + "1" * 128, campaign="c" * 64)
    record = await cell.record()
    assert {name: len(value.encode()) for name, value in record.items() if len(value.encode()) > 64} == {}


async def test_a_message_without_a_key_is_a_bug_of_the_caller(cell: Cell) -> None:
    with pytest.raises(ValueError, match=r"^a message needs a key before it is queued$"):
        await cell.enqueue(message("k1").model_copy(update={"key": None}))


async def test_a_message_that_is_past_its_time_is_queued_and_never_handed_out(cell: Cell) -> None:
    await cell.queue("k1", expires_at="2001-01-01T00:00:00Z")
    await cell.own()
    batch = await cell.claim()
    assert (batch.messages, batch.expired) == ([], 1)
    assert await cell.state() == "expired"


async def test_two_cells_know_nothing_of_each_other(cell: Cell) -> None:
    other = Cell(cell.redis, schema.Cell("other"))
    await cell.queue("k1")
    assert await other.enqueue(message("k1", content=text("Other"))) == [QUEUED]
    assert await other.take(OWNER) == [NUMBER]
    assert await cell.score("due", NUMBER) is not None
    assert (await cell.score("due", NUMBER) or 0) < await cell.now() + HOUR_US
