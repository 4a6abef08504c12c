"""Looks at a cell, part by part: what cannot be read spoils its own part alone, and nothing waits for ever."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from dispatcher import errors
from dispatcher.store import health
from dispatcher.store.campaigns import Campaigns, CampaignStanding
from dispatcher.store.health import Health
from dispatcher.store.webhooks import UNSEEN_MOST_S
from dispatcher.store.schema import Keys
from dispatcher.store.lags import Lag, Lags
from dispatcher.store.pipeline import Line
from dispatcher.store.overview import Around, Counts, Overlook
from dispatcher.store.numbers import Registry
from dispatcher.store.work import US
from dispatcher.store.stops import Stops
from dispatcher.store.survey import Standings, Survey

TIMEOUT_S: Final = 4.0
"""Prometheus gives up after 10 s, unless told otherwise."""
CAMPAIGNS_SHOWN: Final = 20

_Part = TypeVar("_Part")


class Witness(Protocol):
    """Who hears how looking went, for the log."""

    def away(self, reason: str) -> None:
        """Redis did not answer."""

    def back(self) -> None:
        """Redis answers."""

    def broken(self, part: str, reason: str) -> None:
        """Something in Redis is not what it should be."""

    def failed(self, exc: Exception) -> None:
        """A bug of ours showed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What was seen; a part that could not be read is None."""

    workers: int
    doors: int | None
    counts: Counts
    stops: Counter[tuple[str, str]] | None
    numbers: Standings | None
    campaigns: Sequence[CampaignStanding]
    health: Health
    unreadable: int | None
    lags: Sequence[Lag]


@dataclass(frozen=True, slots=True)
class Look:
    """One look and how long it took; without a cell, Redis was away or too slow."""

    took_s: float
    cell: Cell | None


class Lookout:
    """Looks through one line; never fails."""

    def __init__(self, line: Line, keys: Keys, witness: Witness, timeout_s: float = TIMEOUT_S) -> None:
        self._line = line
        self._keys = keys
        self._witness = witness
        self._timeout_s = timeout_s
        self._overlook = Overlook(line, keys)
        self._registry = Registry(line, keys)
        self._stops = Stops(line, keys)
        self._survey = Survey(line, keys)
        self._campaigns = Campaigns(line, keys)
        self._lags = Lags(line, keys)

    async def look(self) -> Look:
        """Look at everything once."""
        started = time.monotonic()
        cell = None
        try:
            async with asyncio.timeout(self._timeout_s):
                cell = await self._cell()
            self._witness.back()
        except errors.QueueUnavailable as exc:
            self._witness.away(exc.reason)
        except TimeoutError:
            self._witness.away(f"no answer within {self._timeout_s:g} s")
        except Exception as exc:  # noqa: BLE001 - nobody else would hear of it, and the next scrape may go well
            self._witness.failed(exc)
        return Look(time.monotonic() - started, cell)

    async def _cell(self) -> Cell:
        """Look, one part after the other: Redis has others to serve."""
        stops = await self._part("stops", self._stops.all())
        around = await self._overlook.around(stops or [])
        kinds = Counter((stop.scope.partition(":")[0], stop.action) for stop in around.stops)
        return Cell(
            workers=len(around.processes),
            doors=await self._doors(around),
            counts=await self._overlook.counts(),
            stops=None if stops is None else kinds,
            numbers=await self._part("numbers", self._numbers(around)),
            campaigns=await self._campaigns.running(CAMPAIGNS_SHOWN),
            health=await health.health(self._line),
            unreadable=await self._part("unreadable", self._line.command("LLEN", self._keys("unreadable"))),
            lags=await self._lags.all(),
        )

    async def _numbers(self, around: Around) -> Standings:
        return await self._survey.numbers(await self._registry.all(), around)

    async def _doors(self, around: Around) -> int | None:
        since = round(around.now_us - UNSEEN_MOST_S * US)
        return await self._part("doors", self._line.command("ZCOUNT", self._keys("doors"), since, "+inf"))

    async def _part(self, name: str, part: Awaitable[_Part]) -> _Part | None:
        try:
            return await part
        except errors.QueueBroken as exc:
            self._witness.broken(name, exc.reason)
            return None
