"""Poisoned data: what nobody of ours wrote costs one message at most, is visible, and blocks no number."""

from typing import Any

import pytest
from redis.exceptions import ResponseError

from dispatcher import errors
from dispatcher.store import numbers, queue, stops, work
from dispatcher.store.stops import Stop
from tests.store.cell import (
    HOUR_US,
    NUMBER,
    OTHER,
    OWNER,
    TOKEN,
    WABA,
    Cell,
    keys_of,
    message,
    published,
    template,
    text,
)

WRONG = ["string", "list", "set", "zset", "stream"]
BINARY = b"\xff\xfe\x00"


async def poison(cell: Cell, name: str, kind: str) -> None:
    """Put a value of another type under a name."""
    await cell.redis.delete(name)
    if kind == "string":
        await cell.redis.set(name, "garbage")
    elif kind == "list":
        await cell.redis.rpush(name, "garbage")
    elif kind == "set":
        await cell.redis.sadd(name, "garbage")
    elif kind == "zset":
        await cell.redis.zadd(name, {"garbage": 1})
    elif kind == "stream":
        await cell.redis.xadd(name, {"garbage": 1})
    elif kind == "hash":
        await cell.redis.hset(name, "garbage", "1")


async def goes_on(cell: Cell, lost: int = 1) -> None:
    """The batch goes on without the poisoned message `k1`, which is dead and counted."""
    await cell.own()
    batch = await cell.claim()
    assert (keys_of(batch.messages), batch.lost) == (["k2"], lost)
    assert await cell.lane() == []
    assert await cell.settle(batch.messages[0], "accepted") == "accepted"
    if lost:
        found = await cell.run(queue.look, "k1")
        assert found is not None
        assert (found.state, found.cause, found.number) == ("dead", "lost", NUMBER)
        assert await cell.sets_of("k1") == {"dead"}
        assert ("dead", "k1") in await cell.told()


async def upkeep(cell: Cell) -> None:
    """Every other step runs over the poison as well."""
    await cell.run(work.announce, OWNER, dict.fromkeys([NUMBER], TOKEN))
    await cell.run(work.tend, OWNER)
    await cell.run(work.decide)
    await cell.run(stops.unpark)
    await cell.run(stops.all_)
    await cell.run(numbers.all_)


@pytest.mark.parametrize("kind", [*WRONG, "hash", "none"])
async def test_a_record_of_another_type_is_dead_and_the_batch_goes_on(cell: Cell, kind: str) -> None:
    await cell.queue("k1", "k2")
    await poison(cell, cell.key("msg:k1"), kind)
    await cell.run(queue.look, "k1")
    await cell.run(queue.cancel, "k1")
    [found] = await cell.enqueue(message("k3"))
    assert found.word == "queued"
    await cell.run(queue.cancel, "k3")
    await goes_on(cell)


@pytest.mark.parametrize("field", ["state", "number", "priority", "due", "expires", "enqueued"])
@pytest.mark.parametrize("value", [None, "", "garbage", "nan", "inf", "-1e400", "7", BINARY])
async def test_a_record_with_a_broken_field_is_dead_or_harmless(cell: Cell, field: str, value: Any) -> None:
    await cell.queue("k1", "k2")
    name = cell.key("msg:k1")
    if value is None:
        await cell.redis.hdel(name, field)
    else:
        await cell.redis.hset(name, field, value)
    await cell.run(queue.look, "k1")
    harmless = {("number", value) for value in ("", "garbage", "nan", "inf", "-1e400", "7", BINARY)}
    harmless |= {("due", "7"), ("enqueued", "7"), ("expires", "7")}
    if (field, value) not in harmless:
        await goes_on(cell)
        return
    await cell.own()
    batch = await cell.claim()
    assert "k2" in keys_of(batch.messages)
    assert await cell.lane() == []
    for claimed in batch.messages:
        assert await cell.settle(claimed, "accepted") == "accepted"
    await upkeep(cell)


@pytest.mark.parametrize("field", ["attempts", "lapses", "claimed", "claim"])
@pytest.mark.parametrize("value", ["", "garbage", "nan", "inf", "1.5", "-3", BINARY])
async def test_broken_counts_stop_neither_claim_nor_settle_nor_tend(cell: Cell, field: str, value: Any) -> None:
    await cell.queue("k1", "k2")
    await cell.redis.hset(cell.key("msg:k1"), field, value)
    claimed = {entry.key: entry for entry in await cell.claim_all()}
    assert "k2" in claimed
    for outcome in ("retry", "uncertain", "reject"):
        if "k1" in claimed:
            await cell.settle(claimed["k1"], outcome, 0 if outcome == "retry" else "")
            claimed |= {entry.key: entry for entry in await cell.claim_all()}
    await cell.queue("k3")
    await cell.redis.hset(cell.key("msg:k3"), field, value)
    await cell.claim_all()
    await cell.end_lease("k3")
    await cell.run(work.tend, OWNER)
    await cell.run(work.decide)
    assert await cell.state("k3") in {"uncertain", "dead"}
    assert (await cell.run(queue.look, "k1")) is not None


@pytest.mark.parametrize("field", ["to", "fingerprint", "template", "campaign", "category", "extra", "parked", "error"])
async def test_binary_labels_are_handed_out_and_shown(cell: Cell, field: str) -> None:
    await cell.queue("k1", "k2")
    await cell.redis.hset(cell.key("msg:k1"), field, BINARY)
    found = await cell.run(queue.look, "k1")
    assert found is not None
    await cell.own()
    batch = await cell.claim()
    assert keys_of(batch.messages) == ["k1", "k2"]
    for claimed in batch.messages:
        assert await cell.settle(claimed, "accepted") == "accepted"


@pytest.mark.parametrize("packed", ["", "1", "1q\tx", "garbage", "\t\t\t\t", "1a", "1x\t" * 40, "accepted", BINARY])
async def test_a_packed_record_that_is_garbage_is_dead_and_found_used(cell: Cell, packed: Any) -> None:
    await cell.queue("k1", "k2")
    await cell.redis.set(cell.key("msg:k1"), packed)
    [found] = await cell.enqueue(message("k1"))
    assert found.word in {"duplicate", "conflict"}
    assert found.state in {"dead", "accepted"}
    await cell.run(queue.look, "k1")
    settled = str(packed).startswith(("1a", "1x"))
    await goes_on(cell, lost=0 if settled else 1)


@pytest.mark.parametrize("kind", ["list", "set", "zset", "stream", "hash", "none"])
async def test_a_body_that_is_gone_or_none_is_dead_and_the_batch_goes_on(cell: Cell, kind: str) -> None:
    await cell.queue("k1", "k2")
    await poison(cell, cell.key("body:k1"), kind)
    await goes_on(cell)


@pytest.mark.parametrize("kind", ["list", "hash"])
async def test_extra_data_of_another_type_is_left_out(cell: Cell, kind: str) -> None:
    await cell.queue("k1", callback_data="order=1")
    await poison(cell, cell.key("extra:k1"), kind)
    [claimed] = await cell.claim_all()
    assert await cell.settle(claimed, "accepted") == "accepted"
    assert (await cell.events())[0]["extra"] == ""


@pytest.mark.parametrize("member", [" ", "a b", "a 1 b 2", "a\nb", "", "\t", BINARY, "ü", "x" * 5000])
async def test_a_member_of_a_lane_that_is_no_key_is_dead_and_the_others_go(cell: Cell, member: Any) -> None:
    await cell.queue("k2")
    await cell.redis.zadd(cell.cell.lane(NUMBER, 1), {member: 1})
    await cell.own()
    batch = await cell.claim()
    assert (keys_of(batch.messages), batch.lost) == (["k2"], 1)
    raw = member if isinstance(member, bytes) else member.encode()
    assert await cell.redis.zrange(cell.key("dead"), 0, -1) == [raw]


@pytest.mark.parametrize("member", [" ", "a 1 b 2", BINARY])
async def test_no_such_member_is_handed_out_even_with_a_record_and_a_body(cell: Cell, member: Any) -> None:
    await cell.queue("k1", "k2")
    raw = member if isinstance(member, bytes) else member.encode()
    for kind in (b"msg:", b"body:"):
        await cell.redis.copy(cell.cell.prefix.encode() + kind + b"k1", cell.cell.prefix.encode() + kind + raw)
    await cell.redis.zadd(cell.cell.lane(NUMBER, 1), {raw: 1})
    await cell.own()
    batch = await cell.claim()
    assert (keys_of(batch.messages), batch.lost) == (["k1", "k2"], 1)


@pytest.mark.parametrize("name", ["sending", "expiry", "uncertain"])
@pytest.mark.parametrize("member", ["ghost", "a b", BINARY])
async def test_a_ghost_in_the_books_is_dead_or_left_and_upkeep_goes_on(cell: Cell, name: str, member: Any) -> None:
    claimed = await cell.claimed("k2")
    await cell.redis.zadd(cell.key(name), {member: 1})
    await cell.end_lease("k2")
    assert (await cell.run(work.tend, OWNER)).uncertain == 1
    await upkeep(cell)
    assert await cell.settle(claimed, "accepted") == "accepted"


@pytest.mark.parametrize(
    "field", ["tokens", "at", "until", "streak", "doubts", "closed", "probe", "claimer", "why", "credential", "token"]
)
@pytest.mark.parametrize("value", ["", "garbage", "nan", "inf", "-inf", "-5", "1e300", BINARY])
async def test_a_gate_with_a_broken_field_still_lets_messages_through(cell: Cell, field: str, value: Any) -> None:
    await cell.queue("k1", "k2")
    await cell.set_gate(**{field: value})
    await cell.run(work.announce, OWNER, dict.fromkeys([NUMBER], TOKEN))
    assert await cell.take() == [NUMBER]
    if (field, value) == ("tokens", "-5"):
        assert (await cell.claim()).state == "kept"  # as empty as can be
        await cell.refill()
    batch = await cell.claim()
    assert keys_of(batch.messages) == ["k1", "k2"]
    for claimed, gate in zip(batch.messages, ("close", "doubt"), strict=True):
        fields: dict[str, Any] = {"gate": gate, "gate_for_us": HOUR_US, "why": "throttled"}
        assert await cell.settle(claimed, "uncertain", **fields) == "uncertain"
    assert (await cell.run(queue.look, "k1")) is not None


@pytest.mark.parametrize("kind", WRONG)
async def test_a_gate_of_another_type_is_replaced(cell: Cell, kind: str) -> None:
    await poison(cell, cell.cell.gate(NUMBER), kind)
    await cell.queue("k1", number=OTHER)
    await cell.queue("k2")
    await cell.run(queue.look, "k2")
    assert await cell.run(work.release, OWNER, [NUMBER]) == 0
    assert sorted(await cell.take(OWNER, [NUMBER, OTHER])) == [NUMBER, OTHER]
    [claimed] = (await cell.claim()).messages
    await poison(cell, cell.cell.gate(NUMBER), kind)
    assert await cell.settle(claimed, "snooze", gate="close", gate_for_us=HOUR_US, why="throttled") == "queued"
    assert (await cell.gate())["streak"] == "1"


@pytest.mark.parametrize("row", ["", "garbage", "null", "5", "[]", '{"action": 1}', '{"until": "soon"}', BINARY])
@pytest.mark.parametrize("scope", ["all", f"template:{WABA}:shipped"])
async def test_a_stop_that_cannot_be_read_holds_and_can_be_lifted(cell: Cell, scope: str, row: Any) -> None:
    await cell.queue("k1", content=template("shipped"))
    await cell.redis.hset(cell.key("stops"), scope, row)
    await cell.own()
    assert (await cell.claim()).messages == []
    found = await cell.run(queue.look, "k1")
    assert found is not None
    assert found.cause == f"stopped:{scope}"
    [stop] = await cell.run(stops.all_)
    assert (stop.scope, stop.action) == (scope, "hold")
    await upkeep(cell)
    assert await cell.run(stops.lift, scope, [NUMBER]) is True
    assert keys_of(await cell.claim_all()) == ["k1"]


async def test_a_stop_of_nonsense_is_listed_and_stops_nothing_else(cell: Cell) -> None:
    await cell.redis.hset(cell.key("stops"), BINARY, "garbage")
    assert await cell.run(stops.all_) == [Stop("\ufffd\ufffd\x00", "hold", "unreadable", "")]
    await cell.queue("k1")
    assert keys_of(await cell.claim_all()) == ["k1"]


@pytest.mark.parametrize("row", ["", "garbage", "null", "5", "[]", '{"name": null, "waba": 5}', BINARY])
async def test_a_number_whose_row_cannot_be_read_is_still_a_number(cell: Cell, row: Any) -> None:
    await cell.run(numbers.publish, [published(OTHER, "news", 80, WABA)])
    await cell.redis.hset(cell.key("numbers"), NUMBER, row)
    assert (await cell.run(numbers.find, NUMBER)).id == NUMBER
    assert (await cell.run(numbers.find, "news")).id == OTHER
    await cell.queue("k1")
    assert (await cell.run(queue.look, "k1")) is not None
    await cell.run(numbers.publish, [published(NUMBER, "otp-us", 80, WABA)])
    assert (await cell.run(numbers.find, "otp-us")).id == NUMBER


@pytest.mark.parametrize("member", ["ghost", "", "a b", BINARY])
async def test_a_number_nobody_knows_in_due_keeps_nobody_from_being_served(cell: Cell, member: Any) -> None:
    await cell.redis.zadd(cell.key("due"), {member: 1})
    await cell.queue("k1")
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["k1"]


async def test_a_parked_message_whose_record_is_broken_is_dead_when_it_is_moved(cell: Cell) -> None:
    await cell.queue("k1", "k2", campaign="spring")
    await cell.stop("campaign:spring")
    await cell.own()
    await cell.claim()
    await poison(cell, cell.key("msg:k1"), "list")
    await cell.run(stops.lift, "campaign:spring", [NUMBER])
    assert await cell.lane() == ["k2"]
    assert await cell.sets_of("k1") == {"dead"}


async def test_a_broken_record_does_not_keep_an_acceptance_from_being_kept(cell: Cell) -> None:
    claimed = await cell.claimed("k1")
    await poison(cell, cell.key("msg:k1"), "list")
    assert await cell.settle(claimed, "reject") == ""
    assert await cell.settle(claimed, "accepted", "wamid.1") == "accepted"
    assert (await cell.record())["wamid"] == "wamid.1"
    assert await cell.sets_of("k1") == set()
    [found] = await cell.enqueue(message("k1"))
    assert (found.word, found.state) == ("duplicate", "accepted")


@pytest.mark.parametrize("kind", ["list", "hash"])
async def test_a_lane_of_another_type_refuses_new_messages_and_leaves_no_half(cell: Cell, kind: str) -> None:
    """Nobody is told that a message is queued that no claim would ever find."""
    await poison(cell, cell.cell.lane(NUMBER, 1), kind)
    for _ in range(2):
        with pytest.raises(errors.QueueBroken):
            await cell.enqueue(message("k1"))
    await cell.redis.delete(cell.cell.lane(NUMBER, 1))
    await cell.queue("k1")
    assert keys_of(await cell.claim_all()) == ["k1"]


async def test_poison_of_one_number_leaves_the_others_alone(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.queue("k2", number=OTHER)
    await poison(cell, cell.cell.lane(NUMBER, 0), "list")
    assert sorted(await cell.take(OWNER, [NUMBER, OTHER])) == [NUMBER, OTHER]
    with pytest.raises(errors.QueueBroken):
        await cell.claim()
    assert keys_of((await cell.claim(OTHER)).messages) == ["k2"]


async def test_the_tests_poison_is_poison(cell: Cell) -> None:
    for kind in WRONG:
        await poison(cell, "name", kind)
        with pytest.raises(ResponseError):
            await cell.redis.hget("name", "field")
    assert text() == message().content
