"""What needs doing now and then, once a minute for the whole cell: each a bounded step that may run twice."""

from typing import Final

from dispatcher.store.campaigns import KEPT_S
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line
from dispatcher.store.scripts import script
from dispatcher.message.priority import DEAD_KEPT_S

CAMPAIGNS_MAX: Final = 10_000
_FORGOTTEN_A_CALL: Final = 500
_CALLS_MAX: Final = 200


class Chores:
    """Retention that no single message can see to; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, events_kept_s: float) -> None:
        self._line = line
        self._keys = keys
        self._events_kept_s = events_kept_s

    async def trim_events(self) -> None:
        """Drop what is too old from the streams, also where nothing new comes that would push it out."""
        seconds, _ = await self._line.command("TIME")
        horizon_ms = round((int(seconds) - self._events_kept_s) * 1000)
        for stream in ("events", "inbound", "updates"):
            await self._line.command("XTRIM", self._keys(stream), "MINID", "~", max(0, horizon_ms))

    async def forget_dead(self) -> None:
        """Drop dead messages from their list whose record has expired."""
        seconds, _ = await self._line.command("TIME")
        horizon_us = (int(seconds) - DEAD_KEPT_S) * 1_000_000
        await self._line.command("ZREMRANGEBYSCORE", self._keys("dead"), "-inf", horizon_us)

    async def forget_campaigns(self) -> None:
        """Drop the counts of campaigns that nothing has happened in for long, and of the oldest of too many."""
        args = (self._keys.prefix, round(KEPT_S * 1_000_000), CAMPAIGNS_MAX, _FORGOTTEN_A_CALL)
        for _ in range(_CALLS_MAX):
            if not await self._line.call(script("disband"), (self._keys("campaigns"),), args):
                return
