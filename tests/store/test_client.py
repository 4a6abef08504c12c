"""What producers use: a key is queued once whatever happens, and who errs is told what would be right."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from dispatcher import Dispatcher, errors
from dispatcher.message.message import State, Ticket
from dispatcher.store import numbers
from dispatcher.store.embedded import Server
from tests.servers import PATIENCE_S, OwnServer
from tests.store.cell import NUMBER, WABA, Cell, keys_of, published, text


def given(key: str | None = "k1", **fields: Any) -> dict[str, Any]:
    return {"number": "otp-us", "to": "+15551234567", "content": text(), "key": key, **fields}


QUEUED = Ticket("k1", State.QUEUED, duplicate=False)


@pytest.fixture
async def client(server: Server, cell: Cell) -> AsyncIterator[Dispatcher]:
    await cell.run(numbers.publish, [published(NUMBER, "otp-us", 80, WABA)])
    async with Dispatcher.connect(server.url, timeout_s=PATIENCE_S) as connected:
        yield connected


async def test_a_sent_message_is_queued_and_can_be_looked_at(client: Dispatcher, cell: Cell) -> None:
    assert await client.send(given()) == QUEUED
    assert await cell.lane() == ["k1"]
    found = await client.status("k1")
    assert found is not None
    assert (found.state, found.number, found.cause) == ("queued", NUMBER, "no_worker")


async def test_a_message_without_a_key_gets_one(client: Dispatcher, cell: Cell) -> None:
    tickets = [await client.send(given(None)) for _ in range(2)]
    assert len({ticket.key for ticket in tickets}) == 2
    assert await cell.lane() == [ticket.key for ticket in tickets]


async def test_the_same_key_again_is_a_duplicate_whatever_became_of_it(client: Dispatcher, cell: Cell) -> None:
    async def again() -> tuple[State | None, bool]:
        ticket = await client.send(given())
        return ticket.state, ticket.duplicate

    assert await client.send(given()) == QUEUED
    assert await again() == (State.QUEUED, True)
    [claimed] = await cell.claim_all()
    assert await again() == (State.SENDING, True)
    await cell.settle(claimed, "uncertain")
    assert await again() == (State.UNCERTAIN, True)
    await cell.settle(claimed, "accepted")
    assert await again() == (State.ACCEPTED, True)
    assert await cell.claim_all() == []


async def test_a_key_is_free_again_only_when_its_record_is_gone(client: Dispatcher, cell: Cell) -> None:
    await client.send(given())
    [claimed] = await cell.claim_all()
    await cell.settle(claimed, "accepted")
    days_7_ms = 7 * 24 * 3600 * 1000
    assert days_7_ms - 600_000 < await cell.redis.pttl(cell.key("msg:k1")) <= days_7_ms
    await cell.redis.pexpire(cell.key("msg:k1"), 1)
    while await cell.redis.exists(cell.key("msg:k1")):
        await asyncio.sleep(0.001)
    assert await client.send(given()) == QUEUED


async def test_two_producers_racing_with_one_key_queue_it_once(server: Server, client: Dispatcher, cell: Cell) -> None:
    async with Dispatcher.connect(server.url) as other:
        for n in range(30):
            tickets = await asyncio.gather(*(each.send(given(f"k{n}")) for each in (client, other, client, other)))
            assert sorted(ticket.duplicate for ticket in tickets) == [False, True, True, True]
    assert await cell.lane() == [f"k{n}" for n in range(30)]


PRODUCER = """
import asyncio, json, sys
from dispatcher import Dispatcher

async def main(url: str) -> None:
    async with Dispatcher.connect(url) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        first = []
        for n in range(200):
            ticket = await client.send({"number": "otp-us", "to": "+15551234567", "key": f"k{n}",
                                        "content": {"type": "text", "text": {"body": "Hello"}}})
            if not ticket.duplicate:
                first.append(ticket.key)
        print(json.dumps(first))

asyncio.run(main(sys.argv[1]))
"""


async def test_two_processes_racing_with_the_same_keys_queue_each_once(
    server: Server, client: Dispatcher, cell: Cell
) -> None:
    pipe = asyncio.subprocess.PIPE
    producers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PRODUCER, server.url, stdin=pipe, stdout=pipe)
        for _ in range(2)
    ]
    for producer in producers:
        assert producer.stdout is not None
        assert await producer.stdout.readline() == b"ready\n"
    found = await asyncio.gather(*(producer.communicate(b"\n") for producer in producers))
    first, second = (json.loads(out) for out, _ in found)
    assert sorted([*first, *second]) == sorted(f"k{n}" for n in range(200))
    assert sorted(await cell.lane()) == sorted(f"k{n}" for n in range(200))


async def test_a_known_key_with_other_content_is_refused_and_names_the_key(client: Dispatcher) -> None:
    await client.send(given())
    with pytest.raises(errors.KeyConflict) as caught:
        await client.send(given(content=text("Other")))
    assert caught.value.key == "k1"
    assert str(caught.value) == "key: k1 is known with another recipient or other content (queued)"


async def test_an_unknown_number_names_the_nearest_and_carries_the_key(client: Dispatcher, cell: Cell) -> None:
    with pytest.raises(errors.UnknownNumber, match=r"did you mean otp-us\?$") as caught:
        await client.send(given(number="otp-uk"))
    assert caught.value.key == "k1"
    assert await cell.lane() == []


async def test_sends_at_the_same_time_look_once_for_the_number_and_for_room(client: Dispatcher, cell: Cell) -> None:
    async with cell.overheard() as commands:
        await asyncio.gather(*(client.send(given(f"k{n}")) for n in range(50)))
    words = Counter(command.split()[0] for command in commands)
    assert words.pop("EVALSHA") == 50
    del words["EVAL"]  # where the server did not know the script yet
    assert words == {"GET": 1, "HGET": 1, "INFO": 1}  # the first with the connection, for the schema


async def test_a_batch_to_many_numbers_looks_for_each_once(client: Dispatcher, cell: Cell) -> None:
    await cell.run(numbers.publish, (published(str(n), f"shop-{n}", 80, WABA) for n in range(100, 125)))
    messages = [given(f"k{n}", number=f"shop-{100 + n % 26}") for n in range(104)]
    async with cell.overheard() as commands:
        tickets = [ticket async for ticket in client.send_many(messages)]
    assert [n for n, ticket in enumerate(tickets) if ticket.error] == [25, 51, 77, 103]
    assert all(isinstance(ticket.error, errors.UnknownNumber) for ticket in tickets if ticket.error)
    words = Counter(command.split()[0] for command in commands)
    assert (words["HGET"], words["HGETALL"], words["INFO"]) == (26, 0, 1)


async def test_messages_that_are_one_object_filled_anew_are_sent_as_they_were(client: Dispatcher, cell: Cell) -> None:
    async def filled() -> AsyncIterator[dict[str, Any]]:
        one = given()
        for n in range(3):
            one["key"] = f"k{n}"
            yield one

    assert [ticket.key async for ticket in client.send_many(filled())] == ["k0", "k1", "k2"]


async def test_an_empty_cell_says_what_to_do(server: Server, redis: Redis) -> None:
    async with Dispatcher.connect(server.url, cell="eu") as client:
        with pytest.raises(errors.UnknownNumber) as caught:
            await client.send(given())
    assert str(caught.value) == "number: no numbers registered in cell eu: start a worker or give NUMBERS_FILE"


async def test_a_wrong_message_reaches_redis_not_at_all(client: Dispatcher, cell: Cell) -> None:
    with pytest.raises(errors.Refused):
        await client.send(given(to="nobody"))
    assert await cell.redis.keys(cell.key("msg:*").replace("{", "\\{")) == []


async def test_send_many_answers_in_order_and_bad_ones_spoil_nothing(client: Dispatcher, cell: Cell) -> None:
    messages = [given(f"k{n}") for n in range(120)]
    messages[3] = given("k3", to="nobody")
    messages[60] = given("k60", number="otp-uk")
    messages[61] = given("k0", content=text("Other"))
    messages[119] = given("k5")
    tickets = [ticket async for ticket in client.send_many(messages)]
    assert [ticket.key for ticket in tickets] == [message["key"] for message in messages]
    assert {n: type(t.error) for n, t in enumerate(tickets) if t.error} == {
        3: errors.Refused, 60: errors.UnknownNumber, 61: errors.KeyConflict,
    }  # fmt: skip
    assert [n for n, ticket in enumerate(tickets) if ticket.duplicate] == [61, 119]
    expected = [f"k{n}" for n in range(119) if n not in {3, 60, 61}]
    assert await cell.lane() == expected


async def test_send_many_takes_an_async_stream_and_yields_while_it_flows(client: Dispatcher, cell: Cell) -> None:
    taken = 0

    async def stream() -> AsyncIterator[dict[str, Any]]:
        nonlocal taken
        for n in range(200):
            taken += 1
            yield given(f"k{n}")

    tickets = client.send_many(stream())
    assert (await anext(tickets)).key == "k0"
    assert taken < 200
    assert len([ticket async for ticket in tickets]) == 199


async def test_send_many_of_nothing_is_nothing(client: Dispatcher) -> None:
    assert [ticket async for ticket in client.send_many([])] == []


async def test_callback_data_comes_back_in_every_event(client: Dispatcher, cell: Cell) -> None:
    await client.send(given(callback_data='{"order": "ü"}'))
    [claimed] = await cell.claim_all()
    await cell.settle(claimed, "retry", 0)
    [claimed] = await cell.claim_all()
    await cell.settle(claimed, "accepted")
    found = [json.loads(event["extra"])["callback_data"] for event in await cell.events()]
    assert found == ['{"order": "ü"}'] * 2
    assert b"order" not in claimed.body


async def test_cancel_says_what_it_could_still_do(client: Dispatcher, cell: Cell) -> None:
    for name in ("waiting", "under-way", "done"):
        await client.send(given(name))
    claimed = {entry.key: entry for entry in await cell.claim_all()}
    await cell.settle(claimed["waiting"], "release")
    await cell.settle(claimed["done"], "accepted")
    found = {name: await client.cancel(name) for name in ("waiting", "under-way", "done", "never")}
    assert found == {
        "waiting": ("cancelled", "queued"),
        "under-way": ("marked", "sending"),
        "done": ("settled", "accepted"),
        "never": ("unknown", ""),
    }


async def test_a_cancelled_message_is_not_handed_out(client: Dispatcher, cell: Cell) -> None:
    await client.send(given("k1"))
    await client.send(given("k2"))
    await client.cancel("k1")
    assert keys_of(await cell.claim_all()) == ["k2"]


async def test_a_redis_that_is_away_raises_with_the_key_to_send_again(own_server: OwnServer) -> None:
    server = own_server(options={"appendonly": "yes", "appendfsync": "always"})
    async with Dispatcher.connect(server.url, timeout_s=PATIENCE_S) as client, Redis.from_url(server.url) as redis:
        await Cell(redis).run(numbers.publish, [published(NUMBER, "otp-us", 80, WABA)])
        assert (await client.send(given("k1"))).duplicate is False
        server.kill()
        with pytest.raises(errors.QueueUnavailable) as caught:
            await client.send(given(None))
        assert caught.value.key
        server.start()
        assert (await client.send(given(caught.value.key))).duplicate is False
        assert (await client.send(given("k1"))).duplicate is True


async def test_many_sends_at_once_all_get_their_own_ticket(client: Dispatcher, cell: Cell) -> None:
    tickets = await asyncio.gather(*(client.send(given(f"k{n}")) for n in range(300)))
    assert [ticket.key for ticket in tickets] == [f"k{n}" for n in range(300)]
    assert len(await cell.lane()) == 300


async def test_a_newer_message_cancels_the_older_one_that_still_waits(cell: Cell, client: Dispatcher) -> None:
    await client.send(given("old"))
    await client.send(given("new", replaces="old"))
    old, new = await client.status("old"), await client.status("new")
    assert old is not None
    assert new is not None
    assert (old.state, old.cause, new.state) == ("cancelled", "replaced", "queued")
    assert keys_of(await cell.claim_all()) == ["new"]


async def test_a_message_replaces_none_of_another_recipient(cell: Cell, client: Dispatcher) -> None:
    await client.send(given("old", to="+15551230001"))
    await client.send(given("new", replaces="old"))
    assert sorted(keys_of(await cell.claim_all())) == ["new", "old"]


async def test_what_is_under_way_is_replaced_only_if_it_comes_back(cell: Cell, client: Dispatcher) -> None:
    await client.send(given("old"))
    (old,) = await cell.claim_all()
    await client.send(given("new", replaces="old"))
    assert await cell.settle(old, "snooze") == "cancelled"


async def test_sending_again_what_replaces_replaces_nothing_again(cell: Cell, client: Dispatcher) -> None:
    await client.send(given("new", replaces="old"))
    await client.send(given("old"))
    ticket = await client.send(given("new", replaces="old"))
    assert ticket.duplicate
    assert sorted(keys_of(await cell.claim_all())) == ["new", "old"]
