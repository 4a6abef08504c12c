"""Who may ask a URL now: everybody while it is well, and one at a time, after a while, when it ails."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from dispatcher.policy.backoff import full_jitter

FIRST_S: Final = 0.5
CAP_S: Final = 60.0
_REFUSALS_MOST: Final = 5
"""One webhook that is refused says little of the URL; so many in a row do."""


class Turns:
    """The state of one URL, as one process sees it."""

    def __init__(self, rand: Callable[[], float] = random.random) -> None:
        self._rand = rand
        self._probe = asyncio.Lock()
        self._ailments = 0
        self._refusals = 0
        self._closed_at = self._open_at = float("-inf")

    @property
    def is_ailing(self) -> bool:
        """Whether it has not taken anything since it failed last."""
        return self._ailments > 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn, which lasts while the block runs."""
        if not self.is_ailing:
            yield
            return
        async with self._probe:  # lets those in who came first, so that one bad webhook is not tried alone for ever
            await asyncio.sleep(max(0.0, self._open_at - time.monotonic()))
            yield

    def took(self) -> None:
        """It took a webhook."""
        self._ailments = self._refusals = 0

    def refused(self, began: float) -> None:
        """It answered, and does not want this webhook; the try began then."""
        self._refusals += 1
        if self._refusals >= _REFUSALS_MOST:
            self.failed(began)

    def failed(self, began: float) -> None:
        """It did not answer, or not now; what was under way when it was closed closes it no further."""
        if began < self._closed_at:
            return
        self._closed_at = time.monotonic()
        self._open_at = self._closed_at + full_jitter(self._ailments, first_s=FIRST_S, cap_s=CAP_S, rand=self._rand())
        self._ailments += 1
