"""The registry: numbers are found by id and name at the price of one command, and who is wrong is told what is right."""

import asyncio

import pytest

from dispatcher import Dispatcher, errors
from dispatcher.store import numbers, schema
from dispatcher.store.numbers import NEAREST_AMONG, NEAREST_AMONG_COMMAND, Found, Registered
from tests.store.cell import HOUR_US, NUMBER, OTHER, OWNER, RATE, SECOND_US, WABA, Cell, keys_of, published, text

US = published(NUMBER, "otp-us", 80.0, WABA)
DE = published(OTHER, "news-de", 250.0, "")
FOUND_US, FOUND_DE = Registered(NUMBER, "otp-us", WABA), Registered(OTHER, "news-de", "")


def client(cell: Cell) -> Dispatcher:
    """A producer that has found nothing yet."""
    return Dispatcher(cell.pipeline, cell.cell)


async def refusal(producer: Dispatcher, named: str) -> str:
    with pytest.raises(errors.UnknownNumber) as caught:
        await producer.number_id(named)
    return str(caught.value).removeprefix("number: ")


async def test_what_is_published_is_found_by_id_and_by_name(cell: Cell) -> None:
    await cell.run(numbers.publish, [US, DE])
    assert await cell.run(numbers.all_) == [FOUND_US, FOUND_DE]
    for named in (NUMBER, "otp-us"):
        assert await cell.run(numbers.find, named) == Found(NUMBER)
        assert await cell.run(numbers.get, NUMBER) == FOUND_US
        assert await cell.client.number_id(named) == NUMBER


async def test_numbers_are_merged_and_never_removed_by_absence(cell: Cell) -> None:
    await cell.run(numbers.publish, [US])
    await cell.run(numbers.publish, [DE])
    await cell.run(numbers.publish, [])
    assert await cell.run(numbers.all_) == [FOUND_US, FOUND_DE]


async def test_a_number_that_is_called_otherwise_is_found_by_that_name_alone(cell: Cell) -> None:
    await cell.run(numbers.publish, [US])
    await cell.run(numbers.publish, [published(NUMBER, "codes", 10.0, "5")])
    assert await cell.run(numbers.find, "codes") == Found(NUMBER)
    assert await cell.run(numbers.get, NUMBER) == Registered(NUMBER, "codes", "5")
    assert "did you mean" in await refusal(client(cell), "code")
    assert await refusal(client(cell), "otp-us") == f"otp-us is not a number of cell main; there is {NUMBER}, codes"
    await cell.run(numbers.publish, [published(OTHER, "otp-us", 10.0, "")])
    assert await client(cell).number_id("otp-us") == OTHER


async def test_a_name_that_two_numbers_have_is_refused_until_one_is_called_otherwise(cell: Cell) -> None:
    """Messages must not leave from a number that nobody meant."""
    await cell.run(numbers.publish, [US])
    await cell.run(numbers.publish, [published(OTHER, "otp-us", 10.0, "")])
    await cell.run(numbers.publish, [US])
    expected = f"otp-us is the name of 2 numbers of cell main, {NUMBER}, {OTHER}: give the id"
    assert await refusal(client(cell), "otp-us") == expected
    assert [await client(cell).number_id(number) for number in (NUMBER, OTHER)] == [NUMBER, OTHER]
    await cell.run(numbers.publish, [published(OTHER, "codes", 10.0, "")])
    assert [await client(cell).number_id(name) for name in ("otp-us", "codes")] == [NUMBER, OTHER]


async def test_an_unknown_number_names_the_nearest(cell: Cell) -> None:
    await cell.run(numbers.publish, [US, DE])
    assert await refusal(cell.client, "opt-us") == "opt-us is not a number of cell main, did you mean otp-us?"


async def test_an_unknown_number_like_no_other_names_those_there_are(cell: Cell) -> None:
    await cell.run(numbers.publish, [US])
    assert await refusal(cell.client, "zzz") == f"zzz is not a number of cell main; there is {NUMBER}, otp-us"


@pytest.mark.parametrize("named", ["", "5", "otp us", "\udcff", "ü", "0" * 100])
async def test_whatever_is_no_number_is_unknown(cell: Cell, named: str) -> None:
    await cell.run(numbers.publish, [US])
    assert (await refusal(cell.client, named)).startswith(f"{named} is not a number of cell main")


async def test_an_empty_registry_says_what_to_do(cell: Cell) -> None:
    expected = "no numbers registered in cell main: start a worker or give NUMBERS_FILE"
    assert [await refusal(cell.client, named) for named in (NUMBER, "otp-us")] == [expected] * 2


async def test_a_number_published_by_another_is_known_at_once_where_nobody_asked_for_it(cell: Cell) -> None:
    reader = Dispatcher(cell.pipeline, cell.cell)
    await cell.run(numbers.publish, [US])
    assert await reader.number_id("otp-us") == NUMBER
    await cell.run(numbers.publish, [DE])
    assert await reader.number_id("news-de") == OTHER


async def test_an_id_goes_before_a_name(cell: Cell) -> None:
    await cell.run(numbers.publish, [US, published(OTHER, NUMBER, 1.0, "")])
    assert await cell.client.number_id(NUMBER) == NUMBER


async def test_thousands_of_numbers_are_published(cell: Cell) -> None:
    await cell.run(numbers.publish, (published(str(n), f"number-{n}", 80.0, "") for n in range(5000)))
    found = await cell.run(numbers.all_)
    assert len(found) == 5000
    assert await cell.client.number_id("number-4999") == "4999"


async def test_each_cell_has_its_own(cell: Cell) -> None:
    await cell.run(numbers.publish, [US])
    other = Cell(cell.redis, schema.Cell("other"))
    assert await other.run(numbers.all_) == []
    await refusal(other.client, "otp-us")


# what finding costs


async def many(cell: Cell, count: int) -> None:
    await cell.run(numbers.publish, (published(str(10**12 + n), f"shop-{n:05}", 80.0, WABA) for n in range(count)))


@pytest.mark.parametrize("named", [f"{10**12 + 700}", "shop-00700"])
async def test_a_known_number_costs_one_command_and_then_none(cell: Cell, named: str) -> None:
    await many(cell, 1000)
    async with cell.overheard() as commands:
        for _ in range(3):
            assert await cell.client.number_id(named) == f"{10**12 + 700}"
    assert len(commands) == 1
    assert commands[0].split()[0] in {"HGET", "HEXISTS"}


async def test_whoever_asks_at_the_same_time_shares_one_answer(cell: Cell) -> None:
    await many(cell, 1000)
    async with cell.overheard() as commands:
        found = await asyncio.gather(*(cell.client.number_id("shop-00007") for _ in range(50)))
        with pytest.raises(errors.UnknownNumber):
            await asyncio.gather(*(cell.client.number_id("shop-xxxxx") for _ in range(50)))
    assert set(found) == {f"{10**12 + 7}"}
    assert [command.split()[0] for command in commands] == ["HGET", "HGET", "HLEN"]


async def test_an_unknown_number_costs_no_look_at_all_the_others_and_is_remembered(cell: Cell) -> None:
    await many(cell, NEAREST_AMONG + 1)
    async with cell.overheard() as commands:
        for _ in range(3):
            expected = "shop-0001 is not a number of cell main, which has 26: `dispatcher numbers` lists them"
            assert await refusal(cell.client, "shop-0001") == expected
    assert [command.split()[0] for command in commands] == ["HGET", "HLEN"]


async def test_the_command_line_names_the_nearest_of_many(cell: Cell) -> None:
    await many(cell, NEAREST_AMONG + 1)
    command = Dispatcher(cell.pipeline, cell.cell, nearest_among=NEAREST_AMONG_COMMAND)
    assert await refusal(command, "shop-0025") == "shop-0025 is not a number of cell main, did you mean shop-00025?"


async def test_many_numbers_are_asked_for_together(cell: Cell) -> None:
    await many(cell, 30)
    names = [f"shop-{n:05}" for n in range(31)]
    async with cell.overheard() as commands:
        tickets = [
            ticket
            async for ticket in cell.client.send_many(
                {"number": name, "to": "+15551234567", "content": text()} for name in [*names, *names]
            )
        ]
    assert [bool(ticket.error) for ticket in tickets] == ([False] * 30 + [True]) * 2
    assert [command.split()[0] for command in commands].count("HGET") == 31


# the rate, which stands in the gate


async def rate_of(cell: Cell, number: str = NUMBER) -> float:
    return float((await cell.gate(number))["rate"])


async def publish(cell: Cell, rate: float, written_us: int = 0, **changes: list[str]) -> None:
    await cell.run(numbers.publish, [published(NUMBER, "otp-us", rate, WABA)], written_us=written_us, **changes)


async def test_the_first_who_publishes_a_number_gives_its_rate(cell: Cell) -> None:
    await cell.run(numbers.publish, [US, DE])
    assert (await rate_of(cell), await rate_of(cell, OTHER)) == (80, 250)


async def test_a_command_with_another_file_changes_no_rate(cell: Cell) -> None:
    await publish(cell, 80.0, written_us=5)
    await publish(cell, 250.0)
    assert await rate_of(cell) == 80


async def test_two_releases_of_a_file_do_not_write_over_each_other_for_ever(cell: Cell) -> None:
    old, new = 1_795_000_000_000_000 // 2, 1_795_000_000_000_000 // 2 + 1
    for _ in range(2):
        await publish(cell, 80.0, written_us=old)
        await publish(cell, 250.0, written_us=new)
        assert await rate_of(cell) == 250
    await publish(cell, 80.0, written_us=old)  # the old one starts once more
    assert await rate_of(cell) == 250


async def test_a_file_that_changes_changes_the_rate_whatever_others_said(cell: Cell) -> None:
    await publish(cell, 250.0, written_us=await cell.now())
    await publish(cell, 80.0, written_us=5, changed=[NUMBER])
    assert await rate_of(cell) == 80
    await publish(cell, 80.0, written_us=5)
    assert await rate_of(cell) == 80


async def test_a_start_with_the_same_file_does_not_take_a_change_back(cell: Cell) -> None:
    written = await cell.now() - HOUR_US
    await publish(cell, 80.0, written_us=written)
    await publish(cell, 250.0, written_us=written, changed=[NUMBER])
    await publish(cell, 80.0, written_us=written)
    assert await rate_of(cell) == 250


async def test_a_file_of_the_future_does_not_bind_those_who_come_later(cell: Cell) -> None:
    """Whose clock is ahead must not keep others from changing the rate."""
    await publish(cell, 80.0, written_us=await cell.now() + HOUR_US)
    await publish(cell, 250.0, written_us=5, changed=[NUMBER])
    assert await rate_of(cell) == 250


@pytest.mark.parametrize("rate", ["", "fast", "0", "-80", "nan", "inf"])
async def test_a_rate_that_is_none_is_written_anew(cell: Cell, rate: str) -> None:
    await publish(cell, 250.0, written_us=await cell.now())
    await cell.set_gate(rate=rate)
    await publish(cell, 80.0)
    assert await rate_of(cell) == 80


async def test_a_number_that_became_faster_is_due_earlier(cell: Cell) -> None:
    """Its owner left it until the next token of a slow number, which is more than an hour away."""
    await publish(cell, 0.0001)
    await cell.queue("k1")
    await cell.own()
    await cell.fix_tokens(0)
    assert (await cell.claim()).state == "released"
    assert (await cell.score("due", NUMBER) or 0) > await cell.now() + HOUR_US
    await publish(cell, 80.0, changed=[NUMBER])
    assert await cell.take() == [NUMBER]


async def test_a_number_that_serves_nobody_is_not_made_due_by_its_rate(cell: Cell) -> None:
    await publish(cell, 80.0)
    await publish(cell, 250.0, changed=[NUMBER])
    assert await cell.members("due") == []


async def test_a_claim_goes_by_the_gate_whatever_the_claimers_file_says(cell: Cell) -> None:
    await publish(cell, 1000.0)
    await cell.queue(*(f"k{n:02}" for n in range(20)))
    for owner, rate, count in ((OWNER, 1.0, 16), ("process-2", 100_000.0, 4)):
        await cell.own(owner=owner)
        await cell.refill()
        batch = await cell.ask(cell.asking(owner=owner, rate_per_s=rate))
        assert (batch.bucket.rate_per_s, len(batch.messages)) == (1000, count)
    assert await rate_of(cell) == 1000


async def test_a_claim_of_a_gate_that_was_lost_goes_by_the_claimers_file_and_writes_it_down(cell: Cell) -> None:
    await publish(cell, 1000.0, written_us=await cell.now())
    await cell.redis.delete(cell.cell.gate(NUMBER))
    await cell.queue("k1")
    await cell.own()
    batch = await cell.ask(cell.asking(rate_per_s=RATE))
    assert (keys_of(batch.messages), batch.bucket.rate_per_s) == (["k1"], RATE)
    assert await rate_of(cell) == RATE
    await publish(cell, 80.0, written_us=SECOND_US)  # any file knows better than a claim
    assert await rate_of(cell) == 80
