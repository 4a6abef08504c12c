"""docs/python.md: what it lists is what the client has, and its examples run."""

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dispatcher import Dispatcher, Event, Ticket, UnknownNumber, errors
from dispatcher.message.content import ContentError
from dispatcher.store.embedded import Server
from tests.docs.pages import code, names, page, table
from tests.package.relay import relayed

TEXT = page("python.md")
BLOCKS = code(TEXT, "python")
NUMBERS = '[numbers.106540352242922]\nname = "otp-us"\naccess_token = { env = "NOBODY_READS_IT" }\n'


def example(name: str) -> Any:
    """The function of this name on the page."""
    [block] = [block for block in BLOCKS if f"def {name}(" in block]
    found: dict[str, Any] = {}
    exec(block, found)
    return found[name]


@pytest.fixture(scope="module")
def cell(server_path: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose cell knows the number of the examples, because a command has told it."""
    folder = tmp_path_factory.mktemp("cell")
    (folder / "numbers.toml").write_text(NUMBERS)
    with Server(server_path) as running:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "dispatcher",
                "send",
                "--number",
                "otp-us",
                "--to",
                "+15551234567",
                "--text",
                "Hello",
            ],
            cwd=folder,
            env=os.environ | {"DISPATCHER_REDIS_URL": running.url},
            check=True,
            capture_output=True,
        )
        yield running


@pytest.fixture
async def client(cell: Server) -> AsyncIterator[Dispatcher]:
    async with Dispatcher.connect(cell.url) as made:
        yield made


def message(key: str | None, to: str = "+15551234567") -> dict[str, Any]:
    return {"number": "otp-us", "to": to, "key": key, "content": {"type": "text", "text": {"body": "Hello"}}}


# what the page lists


def test_the_page_names_every_method() -> None:
    methods = {name for name, _ in inspect.getmembers(Dispatcher, callable) if not name.startswith("_")}
    assert {name for name in methods if f".{name}(" not in TEXT} == set()
    arguments = inspect.signature(Dispatcher.connect).parameters.values()
    given = [f"{one.name}={one.default!r}" if one.default is not one.empty else one.name for one in arguments]
    assert "`Dispatcher.connect({}, *, {}, {})`".format(*given).replace("'", '"') in TEXT
    idle_s = inspect.signature(Dispatcher.events).parameters["idle_s"].default
    assert f"`idle_s` ({idle_s:g} seconds)" in TEXT


async def test_the_page_lists_every_field(client: Dispatcher) -> None:
    await client.send(message("listed"))
    record: Any = await client.status("listed")
    assert listed("| field | meaning |") == [field.name for field in fields(Ticket)]
    assert listed("| field | meaning |", after="returns a record") == [field.name for field in fields(record)]
    assert [
        *[await client.cancel("listed"), await client.cancel("listed"), await client.cancel("nobody")],
    ] == [("cancelled", "queued"), ("settled", "cancelled"), ("unknown", "")]
    assert listed("| result | meaning |") == ["cancelled", "marked", "settled", "unknown"]


def listed(head: str, after: str = "") -> list[str]:
    return [names(row[0])[0] for row in table(TEXT[TEXT.index(after) :], head)]


def test_the_page_lists_every_error() -> None:
    raised = [error for error in vars(errors).values() if inspect.isclass(error)]
    expected = {*raised, ContentError} - {errors.DispatcherError, errors.SettingsError}
    assert set(listed("| error | raised by |")) == {error.__name__ for error in expected}
    for row in table(TEXT, "| error | raised by |"):
        [error] = [error for error in expected if error.__name__ == names(row[0])[0]]
        kinds = {kind.__name__ for kind in error.__mro__} & {"Refused", "QueueUnavailable"} - {error.__name__}
        assert kinds <= set(names(row[2])), row


# what it shows


async def test_a_message_is_sent(cell: Server, client: Dispatcher) -> None:
    assert await example("ship")(cell.url, "4411") == "order-4411-shipped"
    record = await client.status("order-4411-shipped")
    assert record is not None
    assert record.state == "queued"


async def test_a_client_is_opened_and_closed(cell: Server) -> None:
    await example("start_and_stop")(cell.url)


async def test_a_campaign_is_sent_and_says_what_was_refused(client: Dispatcher) -> None:
    people = {f"c{n}": f"+1555123{n:04}" for n in range(60)} | {"nobody": "nobody"}
    refused = await example("campaign")(client, people)
    assert [(ticket.key, type(ticket.error)) for ticket in refused] == [("autumn-nobody", errors.Refused)]
    record = await client.status("autumn-c59")
    assert record is not None
    assert (record.state, record.priority) == ("queued", "bulk")


async def test_tickets_come_in_groups_of_50(client: Dispatcher) -> None:
    assert "groups of 50" in TEXT
    read = 0

    async def source() -> AsyncIterator[dict[str, Any]]:
        nonlocal read
        for n in range(60):
            read += 1
            yield message(f"group-{n}")

    tickets = client.send_many(source())
    assert (await anext(tickets)).key == "group-0"
    assert read == 50
    assert len([ticket async for ticket in tickets]) == 59


async def test_a_message_is_called_back(client: Dispatcher) -> None:
    await client.send(message("late"))
    assert await example("call_back")(client, "late") == "cancelled, was queued"
    assert (await example("call_back")(client, "never")).startswith("unknown")


async def test_events_are_consumed_and_the_last_comes_again(client: Dispatcher) -> None:
    for key in ("e1", "e2"):
        await client.send(message(key))
        await client.cancel(key)
    found: list[Event] = []

    async def work(event: Event) -> bool:
        found.append(event)
        return event.key == "e2"

    await asyncio.wait_for(example("consume")(client, work), 10)
    await asyncio.wait_for(example("consume")(client, work), 10)
    assert [(event.type, event.key) for event in found[-3:]] == [
        *(("cancelled", "e1"), ("cancelled", "e2")),
        ("cancelled", "e2"),
    ]
    [lag] = [lag for lag in await client.lags() if lag.group == "crm"]
    assert [field.name for field in fields(lag) if f"`{field.name}`" not in TEXT] == []
    assert (lag.stream, lag.waiting) == ("events", 1)


async def test_webhooks_are_handed_in(client: Dispatcher) -> None:
    callback = example("callback")
    assert await callback(client, b'{"entry":[]}') == 200
    assert await callback(client, b"[]") == 400
    async with Dispatcher.connect("redis://127.0.0.1:1/0") as away:
        assert await callback(away, b'{"entry":[]}') == 503


@pytest.mark.parametrize("key", ["retried", None])
def test_a_send_is_tried_again_with_the_same_key(cell: Server, key: str | None) -> None:
    to = "+15557654321" if key else "+15557654322"

    async def send(url: str) -> Ticket:
        async with Dispatcher.connect(url) as d:
            found: Ticket = await example("send_surely")(d, message(key, to))
            return found

    with relayed(cell, to, 3, closes=True) as relay:
        ticket = asyncio.run(send(relay.url))
    assert (relay.passed, ticket.duplicate, ticket.error) == (4, True, None)
    assert ticket.key == (key or ticket.key)


async def test_what_is_refused_is_not_tried_again(client: Dispatcher) -> None:
    with pytest.raises(UnknownNumber):
        await example("send_surely")(client, message("k1") | {"number": "otp-uk"})


async def test_a_thread_sends_through_the_loop(client: Dispatcher) -> None:
    loop = asyncio.get_running_loop()
    ticket = await asyncio.to_thread(example("send_from_a_thread"), client, loop, message("threaded"))
    assert ticket == Ticket("threaded", await state(client, "threaded"), duplicate=False)


async def state(client: Dispatcher, key: str) -> Any:
    record = await client.status(key)
    return record and record.state


def test_every_example_is_run() -> None:
    text = Path(__file__).read_text()
    shown = [name for block in BLOCKS for name in names_of(block)]
    assert len(shown) == len(BLOCKS)
    assert [name for name in shown if f'example("{name}")' not in text] == []


def names_of(block: str) -> list[str]:
    return [line.split("def ")[1].split("(")[0] for line in block.splitlines() if line.startswith(("async def", "def"))]
