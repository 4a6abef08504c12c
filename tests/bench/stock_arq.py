"""The plain way: arq with one job for each message, its defaults, and httpx over its own transport."""

from collections.abc import Callable
from typing import Any

import httpx
from arq import Worker, create_pool
from arq.connections import RedisSettings
from arq.worker import func

from dispatcher.message.message import Message, body
from tests.bench.harness import NUMBER, TOKEN, message


async def enqueue(redis_url: str, count: int) -> None:
    """Queue jobs, pickled as arq does by default; each carries what there is to post."""
    pool = await create_pool(RedisSettings.from_dsn(redis_url))
    try:
        for place in range(count):
            given = Message.parse(message(f"arq-{place}", place, "bulk"), default_key=None)
            content = body(given) + b',"biz_opaque_callback_data":"d1:1:arq-%d"}' % place
            await pool.enqueue_job("post", content, _job_id=f"arq-{place}")
    finally:
        await pool.aclose(close_connection_pool=True)


def work(redis_url: str, url: str, max_jobs: str, wait: Callable[[], object]) -> None:
    """Be an arq worker on uvloop until stopped; it begins once `wait` returns."""
    import uvloop

    uvloop.run(_work(redis_url, f"{url}/v25.0/{NUMBER}/messages", int(max_jobs), wait))


async def _work(redis_url: str, target: str, max_jobs: int, wait: Callable[[], object]) -> None:
    # no limit of its own: as many connections as there are jobs
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=15, trust_env=False) as http:

        async def post(ctx: dict[str, Any], content: bytes) -> str:
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            answer = await http.post(target, content=content, headers=headers)
            answer.raise_for_status()
            return str(answer.json()["messages"][0]["id"])

        worker = Worker(
            functions=[func(post, name="post")],
            redis_settings=RedisSettings.from_dsn(redis_url),
            max_jobs=max_jobs,
            handle_signals=False,
        )
        print("ready", flush=True)
        wait()
        await worker.async_run()
