"""The webhook endpoint while Redis is away, or full: it says so, remembers it, and comes back by itself."""

from tests.api.conftest import Running, running
from tests.api.meta import status, webhook
from tests.cell import eventually
from tests.servers import OwnServer

BODY = webhook([status("k1")])


async def test_without_redis_the_endpoint_says_so_and_remembers_it(own_server: OwnServer) -> None:
    redis_server = own_server(options={"appendonly": "yes", "appendfsync": "always"})
    async with running(redis_server.url) as api:
        assert await api.post(BODY) == 200
        assert (await api.http.get("/health")).status_code == 200
        before = await api.now()
        redis_server.kill()
        assert await api.post(BODY) == 503
        redis_server.start()
        await api.marks_a_gap_after(before)
        assert await api.post(BODY) == 200
        await api.works_off_all()
        assert api.value("dispatcher_webhook_requests_total", outcome="unavailable") == 1


async def test_it_starts_without_redis(own_server: OwnServer) -> None:
    redis_server = own_server()
    redis_server.stop()
    async with running(redis_server.url) as api:
        assert await api.post(BODY) == 503
        assert (await api.http.get("/health")).status_code == 503
        redis_server.start()
        await eventually(lambda: is_taken(api))
        await api.works_off_all()
        await eventually(lambda: is_well(api))


async def is_taken(api: Running) -> bool:
    return await api.post(BODY) == 200


async def is_well(api: Running) -> bool:
    return (await api.http.get("/health")).status_code == 200


async def test_a_full_redis_takes_nothing_and_is_worked_off(own_server: OwnServer) -> None:
    redis_server = own_server(options={"maxmemory": "20mb"})
    async with running(redis_server.url) as api:
        for _ in range(3):
            assert await api.post(webhook([status("")])) == 200
        before = await api.now()
        statuses = []
        for size in (100_000, 10_000, 1_000, 100):
            for i in range(400):
                try:
                    await api.redis.set(f"filler:{size}:{i}", b"x" * size)
                except Exception:  # what is asked for: no room
                    break
        statuses = [await api.post(webhook([status("")]) + b" " * 200_000) for _ in range(3)]
        assert set(statuses) == {503}
        await api.marks_a_gap_after(before)
        await api.works_off_all()
