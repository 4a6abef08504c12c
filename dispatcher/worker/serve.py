"""Who serves which number: takes numbers whose time has come, gives them back, and keeps the books in order."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dispatcher import errors
from dispatcher.worker.delivery import Delivery, Means
from dispatcher.store.numbers import Published, Registry
from dispatcher.store.work import EXAMINED_A_TAKE, Tended
from dispatcher.store.stops import Stops
from dispatcher.worker.load import Load
from dispatcher.settings import Number

TEND_EVERY_S = 1.0
FILES_EVERY_S = 1.0


class Witness(Protocol):
    """Who hears what happens to numbers, for logs and metrics."""

    def serving(self, numbers: int) -> None:
        """So many numbers are served now."""

    def tended(self, tended: Tended) -> None:
        """A step of upkeep was done."""

    def broken(self, number: str, exc: Exception) -> None:
        """A number could not be served; another try follows when its lease has ended."""

    def overloaded(self, given_back: int, lag_s: float) -> None:
        """The event loop is late; numbers were given back."""


@dataclass(frozen=True, slots=True)
class Books:
    """What a worker keeps in order beside deliveries: stops, the registry of numbers, and its own load."""

    stops: Stops
    registry: Registry
    load: Load


class Worker:
    """The loops of one process beside its deliveries."""

    def __init__(
        self, process: str, means: Means, delivery: Delivery, books: Books, witness: Witness, take_every_s: float
    ) -> None:
        self._process = process
        self._means = means
        self._delivery = delivery
        self._books = books
        self._witness = witness
        self._take_every_s = take_every_s
        self._served: dict[str, asyncio.Task[None]] = {}
        self._publishing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._stopped: asyncio.Task[bool]

    def stop(self) -> None:
        """Take nothing more and give back what is not posted; `run` returns when what is in flight has landed."""
        self._stopping.set()
        self._delivery.stop()

    async def run(self) -> None:
        """Serve until stopped. Redis may go away and come back; only a bug raises."""
        self._stopped = asyncio.create_task(self._stopping.wait())
        async with asyncio.TaskGroup() as group:
            measuring = group.create_task(self._books.load.measure())
            taking = group.create_task(self._take_until_stopped())
            tending = group.create_task(self._tend_until_stopped())
            following = group.create_task(self._follow_files())
            await asyncio.wait([taking, tending])
            measuring.cancel()
            following.cancel()
        self._stopped.cancel()
        await self._leave()

    async def _redis_back_or_stopped(self) -> None:
        if self._means.recovery.is_away:
            over = asyncio.create_task(self._means.recovery.over())
            await asyncio.wait([over, self._stopped], return_when=asyncio.FIRST_COMPLETED)
            over.cancel()

    async def _leave(self) -> None:
        """Give the numbers back at once, then let what is in flight land and settle it."""
        if self._means.recovery.is_away and not self._means.flights and not self._means.settler.is_busy:
            return  # nobody to tell, and nothing to say
        await self._means.recovery.patiently(self._release_all)
        if self._served:
            await asyncio.wait(self._served.values())
        await self._means.flights.empty()
        while self._means.settler.is_busy:
            await self._means.settler.drain()
            await self._means.recovery.over()
            await asyncio.sleep(self._take_every_s)

    async def _release_all(self) -> None:
        if self._served:
            await self._means.serving.release(self._process, list(self._served))

    async def _take_until_stopped(self) -> None:
        passed_by = 0
        while not self._stopping.is_set():
            if not self._books.load.is_high:
                try:
                    passed_by = await self._take(passed_by)
                except errors.QueueUnavailable:
                    self._means.recovery.trouble()
            await asyncio.sleep(self._take_every_s)
            await self._redis_back_or_stopped()

    async def _take(self, passed_by: int) -> int:
        """Take what is due; returns how many due numbers to pass by next time, because nobody here can serve them."""
        examined, taken = await self._means.serving.take(self._process, passed_by)
        for number in taken:
            self._serve(number)
        return passed_by + examined - len(taken) if examined == EXAMINED_A_TAKE else 0

    def _serve(self, number: str) -> None:
        before = self._served.get(number)
        task = asyncio.create_task(self._serve_after(before, number))
        self._served[number] = task
        self._witness.serving(len(self._served))
        task.add_done_callback(lambda _: self._served_until_now(number, task))

    def _served_until_now(self, number: str, task: asyncio.Task[None]) -> None:
        if self._served.get(number) is task:
            del self._served[number]
            self._witness.serving(len(self._served))

    async def _serve_after(self, before: asyncio.Task[None] | None, number: str) -> None:
        """Serve a number; once given back it may come again while the last of its batch still waits to be posted."""
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._delivery.serve(number)
        except Exception as exc:  # noqa: BLE001 - one number's trouble is not another's
            self._witness.broken(number, exc)

    async def _tend_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._tend()
            except errors.QueueUnavailable:
                self._means.recovery.trouble()
            await asyncio.wait([self._stopped], timeout=TEND_EVERY_S)
            await self._redis_back_or_stopped()

    async def _tend(self) -> None:
        self._means.flights.forget()
        more = True
        while more and not self._stopping.is_set():
            tended = await self._means.serving.tend(self._process)
            self._witness.tended(tended)
            if tended.forgotten:  # also when this process has just begun
                await self._publish()
            more = tended.more | await self._books.stops.unpark()
        if self._books.load.is_high:
            await self._give_back()

    async def _give_back(self) -> None:
        """Leave half of the numbers to others; what a claim then finds lost, it no longer serves."""
        numbers = list(self._served)[len(self._served) // 2 + 1 :]
        if numbers:
            await self._means.serving.release(self._process, numbers)
        self._witness.overloaded(len(numbers), self._books.load.lag_s)

    async def _follow_files(self) -> None:
        """Beside all else: files may be many, or slow."""
        while not self._stopping.is_set():
            try:
                await self._look_at_files()
            except errors.QueueUnavailable:
                self._means.recovery.trouble()
            await asyncio.wait([self._stopped], timeout=FILES_EVERY_S)
            await self._redis_back_or_stopped()

    async def _look_at_files(self) -> None:
        """Tell of changes until all who need to know of them do."""
        changes = await self._means.roster.refresh()
        if not changes.any:
            return
        roster = self._means.roster
        numbers = [number for id_ in changes.numbers if (number := roster.get(id_))]
        await self._publish(numbers, changes.new_rates)
        await self._means.serving.wake(changes.new_tokens)
        roster.told()

    async def _publish(self, numbers: Sequence[Number] | None = None, new_rates: Sequence[str] = ()) -> None:
        """Say what there is to know of these numbers, or of all, and for which ones this process has a token."""
        async with self._publishing:  # what an earlier look found must not come after this
            roster = self._means.roster
            given = roster.all() if numbers is None else numbers
            published = (Published(n.id, n.name, n.rate_per_s, n.waba_id or "") for n in given)
            await self._books.registry.publish(published, written_us=roster.written_us, changed=new_rates)
            await self._means.serving.serve(self._process, roster.credentials())
