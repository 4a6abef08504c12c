"""Measures now and then how far those who read the cell's streams are behind."""

from typing import Final

from dispatcher import errors
from dispatcher.api.bell import Sleeper
from dispatcher.api.journal import Journal
from dispatcher.lanes.lags import Lags

WATCH_EVERY_S: Final = 10.0


class Watch:
    """One a process."""

    def __init__(self, lags: Lags, journal: Journal) -> None:
        self._lags = lags
        self._journal = journal
        self.sleeper = Sleeper()

    async def run(self) -> None:
        """Measure until stopped."""
        while not self.sleeper.is_stopped:
            try:
                self._journal.lags(await self._lags.all())
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
            except Exception as exc:  # noqa: BLE001 - a task begins here
                self._journal.failed("watch", exc)
            await self.sleeper.pause(WATCH_EVERY_S)
