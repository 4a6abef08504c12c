"""Carries webhooks to their receiver, several at a time, again and again until it answers 200; looks into none."""

import asyncio
from collections import deque
from collections.abc import Callable

from dispatcher.simulator.webhooks.batch import Delivery
from dispatcher.simulator.webhooks.line import Answer, Line, Target, request, target_of
from dispatcher.simulator.webhooks.settings import WebhookSettings
from dispatcher.simulator.webhooks.tally import Tally
from dispatcher.simulator.webhooks.timetable import Timetable


class Courier:
    """Tries each delivery in a task of its own, on connections of its own. `is_done` hears of each that has ended."""

    def __init__(
        self, settings: WebhookSettings, tally: Tally, timetable: Timetable, is_done: Callable[[Delivery], None]
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._timetable = timetable
        self._is_done = is_done
        self._queue: deque[Delivery] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[Line] = set()
        self._idle: list[Line] = []
        self._target = target_of(settings.url or "")

    def change(self, settings: WebhookSettings) -> None:
        """Other settings from now on; what is under way goes on as it began."""
        self._settings = settings
        target = target_of(settings.url or "")
        if target != self._target:
            self._target = target
            for line in self._idle:
                line.abort()
            self._idle.clear()
        self._pump()

    def take(self, delivery: Delivery) -> None:
        """Take a delivery on its way."""
        self._tally.queued += 1
        self._enqueue(delivery)

    async def stop(self) -> None:
        """Drop everything, and leave no task and no connection behind."""
        self._queue.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in tuple(self._lines):
            line.abort()
        while self._lines:  # noqa: ASYNC110 - a turn or two of the loop, at the very end
            await asyncio.sleep(0)

    async def ask(self, target: Target, data: bytes) -> Answer:
        """Send a request and wait for its answer, for as long as the settings say.

        Raises:
            OSError: There is no answer; TimeoutError is one.
        """
        async with asyncio.timeout(self._settings.timeout_ms / 1000):
            line = await self._line(target)
            try:
                answer = await line.ask(data)
            except BaseException:
                line.abort()
                raise
        if line.is_usable and target == self._target and len(self._idle) < self._settings.connections:
            self._idle.append(line)
        else:
            line.abort()
        return answer

    async def _line(self, target: Target) -> Line:
        while self._idle and target == self._target:
            line = self._idle.pop()
            if line.is_usable:
                return line
        return await Line.to(target, self._lines)

    def _enqueue(self, delivery: Delivery) -> None:
        self._queue.append(delivery)
        self._pump()

    def _pump(self) -> None:
        while self._queue and self._settings.url and len(self._tasks) < self._settings.connections:
            task = asyncio.get_running_loop().create_task(self._deliver(self._queue.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()
            self._pump()

    async def _deliver(self, delivery: Delivery) -> None:
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        delivery.first_s = delivery.first_s or began_s
        delivery.tries += 1
        self._tally.retried += delivery.tries > 1
        try:
            status = (await self.ask(self._target, _post(self._target, delivery))).status
        except OSError:
            status = None
        self._tally.answer(status, (now_s() - began_s) * 1000)
        if status == 200:
            self._tally.delivered += 1
            self._end(delivery)
        else:
            self._try_again(delivery, now_s())

    def _try_again(self, delivery: Delivery, now_s: float) -> None:
        settings = self._settings
        delay_s = _pause_ms(settings, delivery.tries) / 1000
        if delivery.tries >= settings.tries_most or now_s + delay_s - delivery.first_s > settings.give_up_s:
            self._tally.given_up += 1
            self._end(delivery)
        else:
            self._timetable.add(delay_s, lambda: self._enqueue(delivery))

    def _end(self, delivery: Delivery) -> None:
        self._tally.queued -= 1
        self._is_done(delivery)


def _pause_ms(settings: WebhookSettings, tries: int) -> float:
    """How long to wait after so many tries: not at all after the first, then longer and longer."""
    if tries < 2:
        return 0.0
    # A power that large is beyond any pause, and beyond what a float holds.
    growth: float = settings.retry_growth ** min(tries - 2, 64)
    return min(settings.retry_ms * growth, settings.retry_most_ms)


def _post(target: Target, delivery: Delivery) -> bytes:
    headers = {"Content-Type": "application/json"}
    if delivery.signature is not None:
        headers["X-Hub-Signature-256"] = f"sha256={delivery.signature}"
    return request("POST", target, headers, delivery.body)
