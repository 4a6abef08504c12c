"""The registry: numbers are found by id and name, and who is wrong is told what would be right."""

import pytest

from dispatcher import errors
from dispatcher.lanes.registry import Registered, Registry
from tests.lanes.cell import NUMBER, OTHER, WABA, Cell

US = Registered(NUMBER, "otp-us", 80.0, WABA)
DE = Registered(OTHER, "news-de", 250.0, "")


async def test_what_is_published_is_found_by_id_and_by_name(cell: Cell) -> None:
    await cell.registry.publish([US, DE])
    assert await cell.registry.all() == [US, DE]
    for named in (NUMBER, "otp-us"):
        assert await cell.registry.find(named) == US


async def test_numbers_are_merged_and_never_removed_by_absence(cell: Cell) -> None:
    await cell.registry.publish([US])
    await cell.registry.publish([DE])
    await cell.registry.publish([])
    assert await cell.registry.all() == [US, DE]


async def test_a_number_published_again_is_as_it_was_said_last(cell: Cell) -> None:
    await cell.registry.publish([US])
    await cell.registry.publish([Registered(NUMBER, "codes", 10.0, WABA)])
    assert await cell.registry.find("codes") == Registered(NUMBER, "codes", 10.0, WABA)


async def test_an_unknown_number_names_the_nearest(cell: Cell) -> None:
    await cell.registry.publish([US, DE])
    with pytest.raises(errors.UnknownNumber) as caught:
        await cell.registry.find("opt-us")
    assert str(caught.value) == "number: opt-us is not a number of cell main, did you mean otp-us?"


async def test_an_unknown_number_like_no_other_names_those_there_are(cell: Cell) -> None:
    await cell.registry.publish([US])
    with pytest.raises(errors.UnknownNumber) as caught:
        await cell.registry.find("zzz")
    assert str(caught.value) == f"number: zzz is not a number of cell main; there is {NUMBER}, otp-us"


async def test_an_empty_registry_says_what_to_do(cell: Cell) -> None:
    with pytest.raises(errors.UnknownNumber) as caught:
        await cell.registry.find(NUMBER)
    expected = "number: no numbers registered in cell main: start a worker or give NUMBERS_FILE"
    assert str(caught.value) == expected


async def test_a_number_published_by_another_is_known_at_once_where_it_was_not(cell: Cell) -> None:
    reader = Registry(cell.line, cell.keys)
    await cell.registry.publish([US])
    assert await reader.find("otp-us") == US
    await cell.registry.publish([DE])
    assert await reader.find("news-de") == DE


async def test_an_id_goes_before_a_name(cell: Cell) -> None:
    await cell.registry.publish([US, Registered(OTHER, NUMBER, 1.0, "")])
    assert await cell.registry.find(NUMBER) == US


async def test_thousands_of_numbers_are_published(cell: Cell) -> None:
    await cell.registry.publish(Registered(str(n), f"number-{n}", 80.0, "") for n in range(5000))
    assert len(await cell.registry.all()) == 5000


async def test_each_cell_has_its_own(cell: Cell) -> None:
    await cell.registry.publish([US])
    assert await Cell(cell.redis, "other").registry.all() == []
