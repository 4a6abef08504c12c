"""How this package connects to Redis; the one place that sets redis-py's options."""

from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

CONNECTIONS = 8


class Doorkeeper:
    """Refuses every new connection but the next one allowed, so that whoever relies on the old hears that it is gone.

    redis-py reconnects without a word; the Redis behind the new connection may be an earlier one.
    """

    def __init__(self) -> None:
        self._is_open = True

    def allow(self) -> None:
        """Let the next connection be made."""
        self._is_open = True

    async def greet(self, connection: AbstractConnection) -> None:
        """Take a new connection, or refuse it. Called by redis-py."""
        if not self._is_open:
            raise RedisConnectionError("the connection was lost")
        await connection.on_connect()
        self._is_open = False


def connect(
    url: str, *, timeout_s: float, connections: int = CONNECTIONS, doorkeeper: Doorkeeper | None = None
) -> "aioredis.Redis":
    """Return a client with replies as bytes; nothing is sent before the first command.

    Works with redis-py 5.3 to 8: RESP2 on all of them, a pool that waits instead of failing, and no retries of its
    own, because only we know which scripts may run twice.
    """
    pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=1 if doorkeeper else connections,
        redis_connect_func=doorkeeper.greet if doorkeeper else None,
        **_options(timeout_s),
    )
    return aioredis.Redis.from_pool(pool)


def connect_sync(url: str, *, timeout_s: float, connections: int = CONNECTIONS) -> "redis.Redis":
    """Return the same for callers that are not asynchronous; any number of threads may share it."""
    pool: redis.BlockingConnectionPool = redis.BlockingConnectionPool.from_url(
        url, max_connections=connections, **_options(timeout_s)
    )
    return redis.Redis.from_pool(pool)


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
