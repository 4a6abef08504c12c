"""What Redis said of a name, for a time: asked once for all who wait, and for nothing that nobody asked for.

Knows neither Redis nor what the answers mean.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

_Answer = TypeVar("_Answer")


class Cache(Generic[_Answer]):
    """Answers by name; `fresh_s` says for how many seconds one holds.

    Whoever asks while the answer is under way waits for that one; an error goes to all who wait and is not kept. It
    remembers `most` names at the most.
    """

    def __init__(
        self,
        ask: Callable[[str], Coroutine[Any, Any, _Answer]],
        fresh_s: Callable[[_Answer], float],
        *,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._most = most
        self._clock = clock
        self._kept: dict[str, tuple[_Answer, float]] = {}
        self._asking: dict[str, asyncio.Task[_Answer]] = {}

    async def get(self, name: str) -> _Answer:
        """Return the answer; raises what asking raises."""
        return (await self.get_all([name]))[name]

    async def get_all(self, names: Iterable[str]) -> dict[str, _Answer]:
        """Return the answers to all names; what is not known is asked for together."""
        found: dict[str, _Answer] = {}
        asking: dict[str, asyncio.Task[_Answer]] = {}
        for name in names:
            kept = self._kept.get(name)
            if kept is not None and self._clock() < kept[1]:
                found[name] = kept[0]
            else:
                asking[name] = self._asking.get(name) or self._begin(name)
        for name, task in asking.items():
            found[name] = await asyncio.shield(task)  # others wait for it as well
        return found

    def forget(self) -> None:
        """Forget everything; what is under way answers those who wait already, and nobody else."""
        self._kept, self._asking = {}, {}

    def _begin(self, name: str) -> asyncio.Task[_Answer]:
        kept, asking, asked_at = self._kept, self._asking, self._clock()
        task = asking[name] = asyncio.create_task(self._ask(name))

        def end(task: asyncio.Task[_Answer]) -> None:
            asking.pop(name, None)
            # whoever waited may be gone: an error is heard here
            if not task.cancelled() and task.exception() is None:
                kept.pop(name, None)
                kept[name] = (task.result(), asked_at + self._fresh_s(task.result()))
                if len(kept) > self._most:
                    del kept[next(iter(kept))]

        task.add_done_callback(end)
        return task
