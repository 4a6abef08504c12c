"""How this package connects to Redis; the one place that sets redis-py's options."""

import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from dispatcher.lanes.keys import SCHEMA_KNOWN, Keys

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
    url: str, keys: Keys, *, timeout_s: float, connections: int = CONNECTIONS, doorkeeper: Doorkeeper | None = None
) -> "aioredis.Redis":
    """Return a client for a cell, with replies as bytes; nothing is sent before the first command.

    Works with redis-py 5.3 to 8: RESP2 on all of them, a pool that waits instead of failing, and no retries of its
    own, because only we know which scripts may run twice. Each connection begins with a look at the cell's schema, so
    that a process that was left behind stops where its connection ends, and touches nothing.
    """

    async def greet(connection: AbstractConnection) -> None:
        if doorkeeper:
            doorkeeper.check()
        await connection.on_connect()
        await _check_schema(connection, keys)
        if doorkeeper:
            doorkeeper.close()

    pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=1 if doorkeeper else connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        protocol=2,
        retry=None,
        retry_on_error=[],
        decode_responses=False,
        health_check_interval=0,
        redis_connect_func=greet,
    )
    return aioredis.Redis.from_pool(pool)


async def _check_schema(connection: AbstractConnection, keys: Keys) -> None:
    await connection.send_command("GET", keys("schema"))
    try:
        found = await connection.read_response()
    except ResponseError as exc:
        if not str(exc).startswith("WRONGTYPE"):
            raise
        found = None
    # what is no number is none of ours; the next worker writes it anew
    schema = int(found) if found and found.isdigit() and len(found) <= _DIGITS_MAX else 0
    if schema > SCHEMA_KNOWN:
        raise UnknownSchemaError(
            f"cell {keys.cell} is in schema {schema}, and this release knows none after {SCHEMA_KNOWN}: "
            "upgrade this process to the release that the others of the cell have"
        )
