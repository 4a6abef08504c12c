"""How this package connects to Redis; the one place that sets redis-py's options."""

import redis.asyncio as aioredis

# Scripts are retried where their idempotence is known, never by the library: see `retry=None` below.
CONNECTIONS = 8


def connect(url: str, *, timeout_s: float, connections: int = CONNECTIONS) -> "aioredis.Redis":
    """Return a client with replies as bytes; nothing is sent before the first command.

    Works with redis-py 5.3 to 8: RESP2 on all of them, a pool that waits instead of failing, no retries of its own.
    """
    pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        protocol=2,
        retry=None,
        retry_on_error=[],
        decode_responses=False,
        health_check_interval=0,
    )
    return aioredis.Redis.from_pool(pool)
