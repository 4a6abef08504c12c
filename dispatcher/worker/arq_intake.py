"""The arq worker of a process: takes `send` jobs of any arq producer in.

Only messages pass here, no deliveries: arq cancels its jobs when a Redis connection drops and examines every running
job at every poll. What cannot be read is never unpickled and never vanishes: it lands on a capped list.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pydantic_core
from arq import Retry, Worker
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.worker import func
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError, ResponseError

from dispatcher import errors
from dispatcher.message.message import Ticket
from dispatcher.worker.log import WorkerLog

JOB_BYTES_MAX = 256_000
REFUSED_MAX = 1000
REFUSED_BYTES_MAX = 16_000
TRIES_MAX = 1000
# arq keeps a job that it lost locked for that long and 10 s more.
_TIMEOUT_S = 5
_POLL_S = 0.1
_JOBS_AT_ONCE = 50
_RESTART_S = (0.1, 0.5, 1.0, 2.0)
# Whoever ran that long has not failed again, but anew.
_RAN_WELL_S = 10.0

Send = Callable[[object, str], Awaitable[Ticket]]


class Intake:
    """Supervises one arq worker on `queue`; `clock` gives seconds.

    `refused` names the list that unreadable jobs go to.
    """

    def __init__(
        self, redis_url: str, timeout_s: float, queue: str, refused: str, process: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._redis_url = redis_url
        self._timeout_s = timeout_s
        self._queue = queue
        self._refused = refused
        self._process = process
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take nothing more in; `run` returns when what was begun has ended."""
        self._stopping.set()

    async def run(self, send: Send, log: WorkerLog) -> None:
        """Queue messages by `send`, each with a default key, until stopped.

        arq's worker ends whenever Redis does, and is then started again; whatever ends it, this goes on.
        """
        tries = 0
        while True:
            started_at = self._clock()
            failure = await self._run_worker(send, log)
            if self._stopping.is_set():
                return
            if self._clock() - started_at >= _RAN_WELL_S:
                tries = 0
            pause_s = _RESTART_S[min(tries, len(_RESTART_S) - 1)]
            tries += 1
            log.intake_restarted(failure, pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
                    return

    async def _run_worker(self, send: Send, log: WorkerLog) -> BaseException | None:
        """Run one arq worker until it ends, or until stopped; what ended it, None if that was no error."""
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            worker = self._worker(send, log)
            running = asyncio.create_task(worker.async_run())
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
            await _end(worker, running)
            if not self._stopping.is_set():
                await self._sweep(log)
        except Exception as exc:  # noqa: BLE001 - without the supervisor nothing more would be taken in
            return exc
        finally:
            stopped.cancel()
        return None if running.cancelled() else running.exception()

    def _worker(self, send: Send, log: WorkerLog) -> Worker:
        jobs = _Jobs(self._pool(), self._refused, send, log)
        return Worker(
            functions=[func(jobs.send, name="send"), func(jobs.refuse, name="refuse")],  # type: ignore[arg-type]
            queue_name=self._queue,
            redis_pool=jobs.redis,
            handle_signals=False,
            max_jobs=_JOBS_AT_ONCE,
            job_timeout=_TIMEOUT_S,
            keep_result=0,
            max_tries=1_000_000_000,
            poll_delay=_POLL_S,
            allow_abort_jobs=False,
            health_check_interval=30,
            health_check_key=f"{self._queue}:health:{self._process}",
            job_serializer=_write_job,
            job_deserializer=read_job,
            log_results=False,
        )

    def _pool(self) -> ArqRedis:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            self._redis_url,
            max_connections=_JOBS_AT_ONCE + 10,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
        )
        return ArqRedis(
            connection_pool=pool, job_serializer=_write_job, job_deserializer=None, default_queue_name=self._queue
        )

    async def _sweep(self, log: WorkerLog) -> None:
        """Put aside what arq itself trips over: ids that are no text, jobs that are no strings."""
        redis = self._pool()
        try:
            for job in await redis.zrange(self._queue, 0, 999):
                kind = await redis.type(job_key_prefix.encode() + job)
                if _is_text(job) and kind in (b"string", b"none"):
                    continue
                await _list_refused(redis, self._refused, repr(job)[:200], "unreadable", b"")
                await redis.zrem(self._queue, job)
                log.job_refused(repr(job)[:200], "unreadable", "arq cannot take this job")
        except ResponseError:
            # the queue itself is no queue; the restarts are the alarm
            pass
        except (RedisError, OSError):
            pass  # away: the next start finds out
        finally:
            await redis.aclose(close_connection_pool=True)


class _Jobs:
    """The functions that arq calls; they never fail, as a failed job would vanish."""

    def __init__(self, redis: ArqRedis, refused: str, send: Send, log: WorkerLog) -> None:
        self.redis = redis
        self._refused = refused
        self._send = send
        self._log = log

    async def send(self, ctx: dict[str, Any], /, *args: Any, **fields: Any) -> None:
        """Queue the message that is the one argument, or whose fields the arguments are."""
        job = str(ctx["job_id"])
        if len(args) + bool(fields) != 1:
            await self._put_aside(job, "misnamed", "send takes one message", {"args": args, "kwargs": fields})
            return
        given = fields or args[0]
        try:
            await self._send(given, job)
        except errors.Refused as exc:
            await self._put_aside(job, "refused", str(exc), given)
        except errors.QueueUnavailable as exc:
            raise Retry(defer=5 if isinstance(exc, errors.QueueFull) else 1) from None
        except Exception as exc:
            if ctx["job_try"] < TRIES_MAX:
                raise Retry(defer=5) from exc
            await self._put_aside(job, "refused", f"internal error: {type(exc).__name__}", given)
        else:
            self._log.job_queued()

    async def refuse(self, ctx: dict[str, Any], reason: str, detail: str, raw: str) -> None:
        """Put a job aside that `read_job` could not read."""
        await self._list(str(ctx["job_id"]), reason, detail, raw.encode())

    async def _put_aside(self, job: str, reason: str, detail: str, given: object) -> None:
        await self._list(job, reason, detail, json.dumps(given, default=repr).encode())

    async def _list(self, job: str, reason: str, detail: str, raw: bytes) -> None:
        try:
            await _list_refused(self.redis, self._refused, job, f"{reason}: {detail}", raw)
        except (RedisError, OSError):
            raise Retry(defer=1) from None
        self._log.job_refused(job, reason, detail)


async def _list_refused(redis: ArqRedis, name: str, job: str, reason: str, raw: bytes) -> None:
    entry = {
        "job": job,
        "reason": reason,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "size": len(raw),
        "given": raw[:REFUSED_BYTES_MAX].decode(errors="replace"),
    }
    async with redis.pipeline(transaction=True) as pipe:
        pipe.ltrim(name, 0, REFUSED_MAX - 2)
        pipe.lpush(name, json.dumps(entry))
        await pipe.execute()


def read_job(raw: bytes) -> dict[str, Any]:
    """Read what an arq producer wrote, as JSON and nothing else; what is no job of ours becomes one of `refuse`."""
    if len(raw) > JOB_BYTES_MAX:
        return _refusal("oversized", f"{len(raw)} bytes, at most {JOB_BYTES_MAX} are taken", raw)
    try:
        job = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError:
        is_pickle = raw[:1] == b"\x80"
        return _refusal("unreadable", "pickled: give arq a JSON serializer" if is_pickle else "no JSON", raw)
    if not _is_job(job):
        return _refusal("unreadable", "not what arq writes: an object with t, f, a, k and et", raw)
    if job["f"] != "send":
        return _refusal("misnamed", f"no function {job['f'][:60]!r}, only send", raw)
    return dict(job)


def _is_job(job: object) -> bool:
    return (
        isinstance(job, dict)
        and isinstance(job.get("f"), str)
        and isinstance(job.get("a"), list)
        and isinstance(job.get("k"), dict)
        and isinstance(job.get("et"), int)
        and 0 <= job["et"] < 1e14
        and (job.get("t", 0) is None or (isinstance(job.get("t"), int) and abs(job["t"]) < 1e6))
    )


def _refusal(reason: str, detail: str, raw: bytes) -> dict[str, Any]:
    given = raw[:REFUSED_BYTES_MAX].decode(errors="replace")
    return {"t": None, "f": "refuse", "a": [reason, detail, given], "k": {}, "et": round(time.time() * 1000)}


def _write_job(job: dict[str, Any]) -> bytes:
    return pydantic_core.to_json(job)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _end(worker: Worker, running: asyncio.Task[None]) -> None:
    """Let what was begun end, then close; arq raises the cancellations of its own jobs, so judge it from outside."""
    worker.allow_pick_jobs = False
    pending = [task for task in worker.tasks.values() if not task.done()]
    if pending:
        await asyncio.wait(pending, timeout=_TIMEOUT_S)
    running.cancel()
    pool = worker.pool
    closing = asyncio.create_task(worker.close())
    await asyncio.wait([running, closing], timeout=_TIMEOUT_S)
    for task in (running, closing):
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()  # seen: the caller judges `running`
    await pool.aclose(close_connection_pool=True)  # again: a cancelled job keeps arq from getting there
