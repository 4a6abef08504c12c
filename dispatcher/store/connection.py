"""How this package connects to Redis; the one place that sets redis-py's options.

Each connection begins with a look at the cell's schema, so that a process that was left behind stops where its
connection ends, and touches nothing.
"""

from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.connection import AbstractConnection as SyncConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from dispatcher.store.schema import SCHEMA_KNOWN, Cell

CONNECTIONS = 8
_DIGITS_MAX = 9


class UnknownSchemaError(RedisError):
    """The cell's data is of a later release; raised for each command, as no connection is made."""


class Doorkeeper:
    """Refuses every new connection but the next one allowed, so that whoever relies on the old hears that it is gone.

    redis-py reconnects without a word; the Redis behind the new connection may be an earlier one.
    """

    def __init__(self) -> None:
        self._is_open = True

    def allow(self) -> None:
        """Let the next connection be made."""
        self._is_open = True

    def check(self) -> None:
        """Refuse a new connection unless the next one is allowed."""
        if not self._is_open:
            raise RedisConnectionError("the connection was lost")

    def close(self) -> None:
        """Refuse all further ones."""
        self._is_open = False


def connect(
    url: str, cell: Cell, *, timeout_s: float, connections: int = CONNECTIONS, doorkeeper: Doorkeeper | None = None
) -> "aioredis.Redis":
    """Return a client for a cell, with replies as bytes; nothing is sent before the first command.

    Works with redis-py 5.3 to 8: RESP2 on all of them, a pool that waits instead of failing, and no retries of its
    own, because only we know which scripts may run twice.
    """

    async def greet(connection: AbstractConnection) -> None:
        if doorkeeper:
            doorkeeper.check()
        await connection.on_connect()
        await connection.send_command("GET", cell.key("schema"))
        try:
            found = await connection.read_response()
        except ResponseError as exc:
            found = _unless_wrong_type(exc)
        _check_schema(found, cell)
        if doorkeeper:
            doorkeeper.close()

    pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool.from_url(
        url, max_connections=1 if doorkeeper else connections, redis_connect_func=greet, **_options(timeout_s)
    )
    return aioredis.Redis.from_pool(pool)


def connect_sync(url: str, cell: Cell, *, timeout_s: float, connections: int = CONNECTIONS) -> "redis.Redis":
    """Return the same for callers that are not asynchronous; any number of threads may share it."""

    def greet(connection: SyncConnection) -> None:
        connection.on_connect()  # type: ignore[no-untyped-call] # redis-py has no types there
        connection.send_command("GET", cell.key("schema"))  # type: ignore[no-untyped-call] # the same
        try:
            found = connection.read_response()  # type: ignore[no-untyped-call] # the same
        except ResponseError as exc:
            found = _unless_wrong_type(exc)
        _check_schema(found, cell)

    pool: redis.BlockingConnectionPool = redis.BlockingConnectionPool.from_url(
        url, max_connections=connections, redis_connect_func=greet, **_options(timeout_s)
    )
    return redis.Redis.from_pool(pool)


def _unless_wrong_type(exc: ResponseError) -> bytes:
    """What is no string is no schema of ours; the next worker writes it anew."""
    if not str(exc).startswith("WRONGTYPE"):
        raise exc
    return b""


def _check_schema(found: Any, cell: Cell) -> None:
    # what is no number is none of ours; the next worker writes it anew
    schema = int(found) if found and found.isdigit() and len(found) <= _DIGITS_MAX else 0
    if schema > SCHEMA_KNOWN:
        raise UnknownSchemaError(
            f"cell {cell.name} is in schema {schema}, and this release knows none after {SCHEMA_KNOWN}: "
            "upgrade this process to the release that the others of the cell have"
        )


def _options(timeout_s: float) -> dict[str, Any]:
    return {
        "timeout": timeout_s,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "protocol": 2,
        "retry": None,
        "retry_on_error": [],
        "decode_responses": False,
        "health_check_interval": 0,
    }
