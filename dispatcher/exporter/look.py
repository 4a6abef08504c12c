"""Looks at a cell for Prometheus, part by part: what cannot be read spoils its own part alone. Never fails."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from dispatcher import errors
from dispatcher.exporter.log import ExporterLog
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
    """What happened since the cell began, by name and labels; never less than in an earlier look."""

    @property
    def stops(self) -> Counter[tuple[str, str]]:
        """How many stops there are, by kind of scope and action."""
        return Counter((stop.scope.partition(":")[0], stop.action) for stop in self.around.stops)


@dataclass(frozen=True, slots=True)
class Look:
    """One look and how long it took; without a cell, Redis was away or too slow."""

    took_s: float
    cell: Seen | None


class LookCache:
    """The latest look, for the threads that serve scrapes: one look at a time, at most one in `fresh_s`.

    After `timeout_s` a look begins no further command, and the one under way has the timeout of its connection.
    """

    def __init__(
        self,
        pipeline: SyncPipeline,
        cell: Cell,
        log: ExporterLog,
        *,
        timeout_s: float = TIMEOUT_S,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._pipeline = pipeline
        self._cell = cell
        self._log = log
        self._timeout_s = timeout_s
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._look = Look(0.0, None)
        self._looked_at = float("-inf")
        self._is_closed = False
        self._counted: Counter[tuple[str, ...]] = Counter()
        self._happened: Counter[tuple[str, ...]] = Counter()

    def latest(self) -> Look:
        """Return a look that is still fresh; whoever asks during a look waits for it and gets the same one."""
        with self._lock:
            if time.monotonic() - self._looked_at >= self._fresh_s:
                self._look = self._now()
                self._looked_at = time.monotonic()
            return self._look

    def close(self) -> None:
        """Begin no further command; a look that is under way ends without a cell, and its error is not logged."""
        self._is_closed = True

    def _now(self) -> Look:
        started = time.monotonic()
        cell = None
        try:
            cell = self._seen(started + self._timeout_s)
            self._log.back()
        except Exception as exc:  # noqa: BLE001 - nobody else would hear of it, and the next scrape may go well
            self._tell(exc)
        return Look(time.monotonic() - started, cell)

    def _tell(self, exc: Exception) -> None:
        if self._is_closed:
            return  # its connection was closed while it ran
        if isinstance(exc, errors.QueueUnavailable):
            self._log.away(exc.reason)
        else:
            self._log.failed(exc)

    def _seen(self, until: float) -> Seen:
        """Look, one part after the other: Redis has others to serve."""

        def follow(steps: Steps[_Part]) -> _Part:
            if self._is_closed:
                raise errors.QueueUnavailable("the exporter ends")
            return self._pipeline.follow(steps, until=until)

        around = follow(cells.around(self._cell))
        counts = follow(cells.counts(self._cell))
        standings: Sequence[Standing] | None = None
        try:
            standings = follow(_numbers(self._cell, around))
        except errors.QueueBroken as exc:
            self._log.broken("numbers", exc.reason)
        return Seen(
            around=around,
            counts=counts,
            numbers=standings,
            campaigns=follow(campaigns.running(self._cell, CAMPAIGNS_SHOWN)),
            health=follow(health.health()),
            lags=follow(streams.lags(self._cell)),
            happened=self._grown(follow(_happened(self._cell))),
        )

    def _grown(self, counted: Mapping[tuple[str, ...], int]) -> Mapping[tuple[str, ...], int]:
        """Add what was counted since the last look.

        A Redis that restarts or fails over may lose its last second. Prometheus takes a counter that fell for one that
        began anew, and would add all that was ever counted once more.
        """
        for name, count in counted.items():
            self._happened[name] += max(0, count - self._counted[name])
        self._counted = Counter(counted)
        return dict(self._happened)


def _numbers(cell: Cell, around: Around) -> Steps[Sequence[Standing]]:
    known = yield numbers.all_(cell)
    return (yield from cells.standings(cell, known, around))


def _happened(cell: Cell) -> Steps[Mapping[tuple[str, ...], int]]:
    counted: Mapping[tuple[str, ...], int] = yield cells.happened(cell)
    return counted
