"""The client out of the wheel, alone in an environment with redis-py 5.3 and with 8."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis

from dispatcher.store import numbers
from dispatcher.store.embedded import Server
from tests.package.conftest import Client
from tests.package.relay import relayed
from tests.servers import OwnServer
from tests.store.cell import NUMBER, WABA, Cell, published

T = TypeVar("T")


def arrange(server: Server, work: Callable[[Cell], Awaitable[T]]) -> T:
    async def arranged() -> T:
        async with Redis.from_url(server.url, protocol=2) as redis:
            cell = Cell(redis)
            found = await work(cell)
            await cell.pipeline.idle()
            return found

    return asyncio.run(arranged())


def registered(server: Server) -> Server:
    async def work(cell: Cell) -> None:
        await cell.redis.flushall()
        await cell.run(numbers.publish, [published(NUMBER, "otp-us", 80.0, WABA)])

    arrange(server, work)
    return server


def waiting(server: Server) -> list[bytes]:
    async def work(cell: Cell) -> list[bytes]:
        return list(await cell.redis.zrange(cell.key(f"lane:{NUMBER}:1"), 0, -1))

    return arrange(server, work)


@pytest.fixture
def cell(server: Server) -> Server:
    """The suite's server with one number known."""
    return registered(server)


def test_nothing_but_the_client_is_there(client: Client, request: pytest.FixtureRequest) -> None:
    version = request.node.callspec.params["client"]
    assert client.run("bare", "") == {
        "redis": version.removeprefix("redis ").split(".")[0],
        "from": ["site-packages", "dispatcher", "__init__.py"],
        "importable": [],
    }


def test_a_producer_sends_asks_and_cancels(client: Client, cell: Server) -> None:
    assert client.run("send", cell.url) == {
        "made": 32,
        "sent": [
            ["k1", "queued", False, None],
            ["k1", "queued", True, None],
            ["KeyConflict", "key", "k1"],
            ["UnknownNumber", "number", "k2"],
        ],
        "many": [
            ["k1", "queued", True, None],
            ["k3", "queued", False, None],
            ["k4", None, False, "Refused"],
            ["m0", "queued", False, None],
        ],
        "queued": 201,
        "status": ["queued", NUMBER, "+15551234567", None],
        "cancel": [["cancelled", "queued"], ["settled", "cancelled"], ["unknown", ""]],
    }
    assert len(waiting(cell)) == 202


@pytest.mark.parametrize("closes", [False, True], ids=["swallowed", "closed"])
def test_a_lost_answer_is_asked_for_again_with_the_same_key(client: Client, cell: Server, closes: bool) -> None:
    with relayed(cell, "k2", 1, closes=closes) as relay:
        assert client.run("lose", relay.url) == ["k2", "queued", True, None]
    assert relay.passed == 2
    assert waiting(cell) == [b"k1", b"k2"]


@pytest.mark.parametrize("closes", [False, True], ids=["swallowed", "closed"])
def test_the_library_repeats_no_script_of_its_own_accord(client: Client, cell: Server, closes: bool) -> None:
    """Only we know which scripts may run twice: the second time is ours, and there is no third."""
    with relayed(cell, "k2", 99, closes=closes) as relay:
        assert client.run("lose", relay.url) == ["QueueUnavailable", "k2"]
    assert relay.passed == 2
    assert waiting(cell) == [b"k1", b"k2"]


def test_a_connection_that_is_killed_in_mid_send_is_made_again(client: Client, cell: Server) -> None:
    killed, ticket = client.run("drop", cell.url)
    assert killed >= 1
    assert ticket == ["k2", "queued", False, None]
    assert waiting(cell) == [b"k1", b"k2"]


def test_a_server_that_is_gone_is_said_with_the_key(client: Client, own_server: OwnServer) -> None:
    server = registered(own_server())
    assert client.run("harm", server.url, pid=server.pid, how="SIGKILL") == ["QueueUnavailable", "k2"]


def test_a_server_that_hangs_is_given_up_with_the_key(clients: Mapping[str, Client], own_server: OwnServer) -> None:
    """All clients at once, as each waits twice for its time-out."""
    servers = [registered(own_server()) for _ in clients]

    def harm(client: Client, server: Server) -> Any:
        return client.run("harm", server.url, pid=server.pid, how="SIGSTOP")

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(harm, clients.values(), servers))
    assert found == [["QueueUnavailable", "k2"]] * len(clients)


def test_a_full_server_is_said_with_the_key(client: Client, own_server: OwnServer) -> None:
    server = registered(own_server())
    arrange(server, lambda cell: cell.redis.config_set("maxmemory", 500_000))
    assert client.run("fill", server.url) == [
        ["QueueFull", "k1"],
        ["QueueFull", "k1"],
        ["k2", None, False, "QueueFull"],
        ["k3", None, False, "QueueFull"],
        None,
    ]


def test_a_consumer_gets_what_another_left(client: Client, server: Server) -> None:
    second = ["cancelled", "k2", "of k2"]
    found = [["cancelled", "k1", "of k1"], second, second, second]
    assert client.run("consume", registered(server).url) == [found, [["events", "crm", 1]]]
