"""Smooths one number inside this process; the bucket in Redis is the truth for all of them.

The second guard: should the bucket in Redis be lost, this one still holds. One feeder a number takes turns, because
fifty tasks that wait on one limiter cost several hundred µs an acquisition.
"""

from aiolimiter import AsyncLimiter

from dispatcher.policy.gate import bucket_size, refill_rate


class Pacer:
    """Turns to post for a number that may send `rate_per_s` messages a second."""

    def __init__(self, rate_per_s: float) -> None:
        self.rate_per_s = rate_per_s
        size = bucket_size(rate_per_s)
        self._limiter = AsyncLimiter(size, size / refill_rate(rate_per_s))

    async def turn(self) -> None:
        """Wait until one more message may leave."""
        await self._limiter.acquire()
