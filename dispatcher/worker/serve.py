"""Who serves which number: takes numbers whose time has come, gives them back, and keeps the books in order."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from dispatcher import errors
from dispatcher.settings import Number, Settings
from dispatcher.store import numbers as store
from dispatcher.store import stops, work
from dispatcher.store.work import EXAMINED_A_TAKE
from dispatcher.worker.delivery import Delivery
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.numbers import Numbers
from dispatcher.worker.reconnect import CellConnection

TEND_EVERY_S = 1.0
FILES_EVERY_S = 1.0
BUG_PAUSE_S = 1.0
"""A bug that shows at each step would else be reported a hundred times a second."""


class LoopLag:
    """How late the event loop runs, as a running mean in seconds; `on_lag` hears each measurement, every `every_s`.

    A process that is late gives numbers back rather than serve them badly. A claim must become a POST within a second,
    and a number's lease is renewed by claims: a quarter of a second late is still harmless, much more is not.
    """

    HIGH_S = 0.25
    LOW_S = 0.1
    SHARE = 0.2  # of the newest measurement: about a quarter of a second of memory

    def __init__(self, on_lag: Callable[[float], None], every_s: float = 0.05) -> None:
        self.lag_s = 0.0
        self.is_high = False
        self._on_lag = on_lag
        self._every_s = every_s

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(self._every_s)
            self.note(time.monotonic() - asleep_at - self._every_s)

    def note(self, lag_s: float) -> None:
        """Take one measurement into account; high from 0.25 s on, until it is below 0.1 s again."""
        lag_s = max(0.0, lag_s)
        self.lag_s += self.SHARE * (lag_s - self.lag_s)
        self.is_high = self.lag_s > (self.LOW_S if self.is_high else self.HIGH_S)
        self._on_lag(lag_s)


class Worker:
    """The loops of one process beside its deliveries; `owner` is the process."""

    def __init__(
        self,
        owner: str,
        connection: CellConnection,
        delivery: Delivery,
        numbers: Numbers,
        settings: Settings,
        log: WorkerLog,
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._cell = connection.cell
        self._pipeline = connection.pipeline
        self._reconnect = connection.reconnect
        self._delivery = delivery
        self._numbers = numbers
        self._log = log
        self._lag = LoopLag(log.loop_lagged)
        self._take_every_s = settings.take_interval_s
        self._served: dict[str, asyncio.Task[None]] = {}
        self._publishing = asyncio.Lock()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take nothing more and give back what is not posted; `run` returns when what is in flight has ended."""
        self._stopping.set()
        self._delivery.stop()

    async def run(self) -> None:
        """Serve until stopped. Redis may go away and come back; what a bug ends is reported and tried again."""
        self._log.in_flight_most(self._delivery.in_flight_most())
        async with asyncio.TaskGroup() as group:
            measuring = group.create_task(self._lag.measure())
            taking = group.create_task(self._take_until_stopped())
            tending = group.create_task(self._again_until_stopped("tend", self._tend, TEND_EVERY_S))
            following = group.create_task(self._again_until_stopped("files", self._look_at_files, FILES_EVERY_S))
            await asyncio.wait([taking, tending])
            measuring.cancel()
            following.cancel()
        await self._leave()

    async def _take_until_stopped(self) -> None:
        passed_by = 0
        while not self._stopping.is_set():
            if not self._lag.is_high:
                try:
                    passed_by = await self._take(passed_by)
                except errors.QueueUnavailable:
                    self._reconnect.begin()
                except Exception as exc:  # noqa: BLE001 - without this loop no number would be taken any more
                    self._log.task_failed("take", exc)
                    await self._pause(BUG_PAUSE_S)
            await asyncio.sleep(self._take_every_s)
            await self._redis_back_or_stopped()

    async def _take(self, passed_by: int) -> int:
        """Take what is due; returns how many due numbers to pass by next time, because nobody here can serve them."""
        examined, taken = await self._pipeline.run(work.take(self._cell, self._owner, passed_by))
        for number in taken:
            self._serve(number)
        return passed_by + examined - len(taken) if examined == EXAMINED_A_TAKE else 0

    def _serve(self, number: str) -> None:
        before = self._served.get(number)
        task = asyncio.create_task(self._serve_after(before, number))
        self._served[number] = task
        task.add_done_callback(lambda _: self._served_until_now(number, task))
        self._log.numbers_served(len(self._served))

    async def _serve_after(self, before: asyncio.Task[None] | None, number: str) -> None:
        """Serve a number; once given back it may come again while the last of its batch still waits to be posted."""
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._delivery.serve(number)
        except Exception as exc:  # noqa: BLE001 - one number's trouble is not another's
            self._log.serving_broke(number, exc)

    def _served_until_now(self, number: str, task: asyncio.Task[None]) -> None:
        if self._served.get(number) is task:
            del self._served[number]
            self._log.numbers_served(len(self._served))

    async def _again_until_stopped(self, task: str, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Do a step again and again, each beside all else."""
        while not self._stopping.is_set():
            try:
                await step()
            except errors.QueueUnavailable:
                self._reconnect.begin()
            except Exception as exc:  # noqa: BLE001 - without this loop the others would think this process dead
                self._log.task_failed(task, exc)
            await self._pause(every_s)
            await self._redis_back_or_stopped()

    async def _tend(self) -> None:
        """Do upkeep of the cell, and say that this process is alive."""
        self._connection.in_flight.forget()
        more = True
        while more and not self._stopping.is_set():
            tended = await self._pipeline.run(work.tend(self._cell, self._owner))
            self._log.tended(tended)
            if tended.unknown:  # also when this process has just begun; before what else may fail
                await self._publish()
            decided, unparked = await asyncio.gather(
                self._pipeline.run(work.decide(self._cell)), self._pipeline.run(stops.unpark(self._cell))
            )
            self._log.decided(decided)
            more = bool(tended.more or decided.more or unparked.more)
        if self._lag.is_high:
            await self._give_back()

    async def _give_back(self) -> None:
        """Leave half of the numbers to others; what a claim then finds lost, it no longer serves."""
        given = list(self._served)[len(self._served) // 2 + 1 :]
        if given:
            await self._pipeline.run(work.release(self._cell, self._owner, given))
        self._log.numbers_given_back(len(given), self._lag.lag_s)

    async def _look_at_files(self) -> None:
        """Tell of changes until all who need to know of them do."""
        changes = await self._numbers.refresh()
        if not changes.any:
            return
        self._log.in_flight_most(self._delivery.in_flight_most())
        await self._publish(
            [number for id_ in changes.numbers if (number := self._numbers.by_id.get(id_))], changes.new_rates
        )
        await self._pipeline.follow(work.wake(self._cell, changes.new_tokens))
        self._numbers.mark_announced()

    async def _publish(self, given: Sequence[Number] | None = None, new_rates: Sequence[str] = ()) -> None:
        """Say what there is to know of these numbers, or of all, and for which ones this process has a token."""
        async with self._publishing:  # what an earlier look found must not come after this
            numbers = list(self._numbers.by_id.values()) if given is None else given
            written_us = self._numbers.written_us
            await self._pipeline.follow(store.publish(self._cell, numbers, written_us=written_us, changed=new_rates))
            await self._pipeline.follow(work.announce(self._cell, self._owner, self._numbers.credentials()))

    async def _leave(self) -> None:
        """Give the numbers back at once, then let what is in flight end and settle it."""
        in_flight, settler = self._connection.in_flight, self._connection.settler
        if not self._reconnect.ready.is_set() and not in_flight and not settler.is_busy:
            return  # nobody to tell, and nothing to say
        await self._reconnect.until_done(self._release_all)
        if self._served:
            await asyncio.wait(self._served.values())
        await in_flight.empty()
        while settler.is_busy:
            await settler.drain()
            await self._reconnect.ready.wait()
            await asyncio.sleep(self._take_every_s)

    async def _release_all(self) -> None:
        if self._served:
            await self._pipeline.run(work.release(self._cell, self._owner, list(self._served)))

    async def _redis_back_or_stopped(self) -> None:
        if not self._reconnect.ready.is_set():
            ends = [asyncio.create_task(event.wait()) for event in (self._reconnect.ready, self._stopping)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()

    async def _pause(self, for_s: float) -> None:
        """Wait, until stopped at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self._stopping.wait()
