"""Smooths one number inside this process; the bucket in Redis is the truth for all of them.

The second guard: should the bucket in Redis be lost, this one still holds. One feeder a number takes turns, because
fifty tasks that wait on one limiter cost several hundred µs an acquisition.
"""

from aiolimiter import AsyncLimiter

from dispatcher.policy.bucket import Bucket


class Pacer:
    """Turns to post for a number, as often as its bucket in Redis hands out tokens."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._limiter = AsyncLimiter(bucket.size, bucket.size / bucket.refill_per_s)

    async def turn(self) -> None:
        """Wait until one more message may leave."""
        await self._limiter.acquire()
