"""Looks at a cell for Prometheus, part by part: what cannot be read spoils its own part alone. Never fails."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from dispatcher import errors
from dispatcher.exporter.journal import Journal
from dispatcher.store import campaigns, health, numbers, streams
from dispatcher.store import cell as cells
from dispatcher.store.campaigns import CampaignStanding
from dispatcher.store.cell import Around, Counts, Standing
from dispatcher.store.health import Health
from dispatcher.store.pipeline import SyncPipeline
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Steps
from dispatcher.store.streams import Lag

TIMEOUT_S: Final = 4.0
"""Prometheus gives up after 10 s, unless told otherwise."""
FRESH_S: Final = 1.0
CAMPAIGNS_SHOWN: Final = 20

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a cell; numbers that could not be read are None."""

    around: Around
    counts: Counts
    numbers: Sequence[Standing] | None
    campaigns: Sequence[CampaignStanding]
    health: Health
    lags: Sequence[Lag]
    happened: Mapping[tuple[str, ...], int]

    @property
    def stops(self) -> Counter[tuple[str, str]]:
        """How many stops there are, by kind of scope and action."""
        return Counter((stop.scope.partition(":")[0], stop.action) for stop in self.around.stops)


@dataclass(frozen=True, slots=True)
class Look:
    """One look and how long it took; without a cell, Redis was away or too slow."""

    took_s: float
    cell: Seen | None


class Lookout:
    """The latest look, for the threads that serve scrapes: one look at a time, at most one a second."""

    def __init__(self, pipeline: SyncPipeline, cell: Cell, journal: Journal, timeout_s: float = TIMEOUT_S) -> None:
        self._pipeline = pipeline
        self._cell = cell
        self._journal = journal
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._look = Look(0.0, None)
        self._looked_at = float("-inf")

    def latest(self) -> Look:
        """Return a look that is at most a second old; who asks meanwhile waits for the same one."""
        with self._lock:
            if time.monotonic() - self._looked_at >= FRESH_S:
                self._look = self._now()
                self._looked_at = time.monotonic()
            return self._look

    def _now(self) -> Look:
        started = time.monotonic()
        cell = None
        try:
            cell = self._seen(started + self._timeout_s)
            self._journal.back()
        except errors.QueueUnavailable as exc:
            self._journal.away(exc.reason)
        except Exception as exc:  # noqa: BLE001 - nobody else would hear of it, and the next scrape may go well
            self._journal.failed(exc)
        return Look(time.monotonic() - started, cell)

    def _seen(self, until: float) -> Seen:
        """Look, one part after the other: Redis has others to serve."""

        def follow(steps: Steps[_Part]) -> _Part:
            return self._pipeline.follow(steps, until=until)

        around = follow(cells.around(self._cell))
        counts = follow(cells.counts(self._cell))
        standings: Sequence[Standing] | None = None
        try:
            known = self._pipeline.run(numbers.all_(self._cell))
            standings = follow(cells.standings(self._cell, known, around))
        except errors.QueueBroken as exc:
            self._journal.broken("numbers", exc.reason)
        return Seen(
            around=around,
            counts=counts,
            numbers=standings,
            campaigns=follow(campaigns.running(self._cell, CAMPAIGNS_SHOWN)),
            health=follow(health.health()),
            lags=follow(streams.lags(self._cell)),
            happened=self._pipeline.run(cells.happened(self._cell)),
        )
