"""How late this process's event loop runs: one that is late gives numbers back rather than serve them badly."""

import asyncio
import time
from collections.abc import Callable

_EVERY_S = 0.05
# A claim must become a POST within a second, and a number's lease is renewed by claims: a quarter of a second late
# is still harmless, much more is not.
HIGH_S = 0.25
LOW_S = 0.1
_SHARE = 0.2  # of the newest measurement in the running mean: about a quarter of a second of memory


class Load:
    """A running mean of the loop's lag in seconds; `on_lag` hears each measurement."""

    def __init__(self, on_lag: Callable[[float], None]) -> None:
        self.lag_s = 0.0
        self.is_high = False
        self._on_lag = on_lag

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(_EVERY_S)
            self.note(time.monotonic() - asleep_at - _EVERY_S)

    def note(self, lag_s: float) -> None:
        """Take one measurement into account; high from 0.25 s on, until it is below 0.1 s again."""
        lag_s = max(0.0, lag_s)
        self.lag_s += _SHARE * (lag_s - self.lag_s)
        self.is_high = self.lag_s > (LOW_S if self.is_high else HIGH_S)
        self._on_lag(lag_s)
