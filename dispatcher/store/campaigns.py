"""How campaigns stand, by the counts that the scripts keep. Bounded work, whatever a campaign has messages."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dispatcher import errors
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.work import US

KEPT_S: Final = 30 * 86_400
"""How long counts stay after the last activity; `record.lua` says the same of the hash."""
SETTLED: Final = ("accepted", "expired", "cancelled", "suppressed", "dead")
_EXAMINED_MAX: Final = 200
_ENDED_SHOWN_S: Final = 600


@dataclass(frozen=True, slots=True)
class CampaignStanding:
    """Messages of a campaign: those not settled yet, and those that are, by state."""

    name: str
    unsettled: int
    settled: Mapping[str, int]


class Campaigns:
    """Reads the counts; raises `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line = line
        self._keys = keys

    async def running(self, most: int) -> list[CampaignStanding]:
        """Return those with most unsettled messages, and after them those that ended in the last ten minutes.

        Of a cell with more than 200 campaigns only the 200 with the latest activity are looked at.
        """
        index = self._keys("campaigns")
        # a name in bytes is known to none of redis-py's callbacks for replies, which differ between versions
        rows = await self._ask([], b"ZREVRANGE", index, 0, _EXAMINED_MAX - 1, "WITHSCORES")
        active = {name: float(at) / US for name, at in zip(rows[::2], rows[1::2], strict=True)}
        counts = await asyncio.gather(
            *(self._ask([], b"HGETALL", self._keys("campaign:").encode() + name) for name in active)
        )
        ended_since = (await self._now_s()) - _ENDED_SHOWN_S
        found = [(_standing(name, flat), at) for (name, at), flat in zip(active.items(), counts, strict=True)]
        shown = [(each, at) for each, at in found if each.unsettled or at > ended_since]
        shown.sort(key=lambda pair: (-pair[0].unsettled, -pair[1]))
        return [each for each, _ in shown[:most]]

    async def _now_s(self) -> float:
        seconds, _ = await self._line.command("TIME")
        return float(seconds)

    async def _ask(self, default: Any, *command: Argument) -> Any:
        try:
            return await self._line.command(*command)
        except errors.QueueBroken:
            return default


def _standing(name: bytes, flat: list[bytes]) -> CampaignStanding:
    counts = {field.decode(errors="replace"): _count(value) for field, value in zip(flat[::2], flat[1::2], strict=True)}
    settled = {state: counts.get(state, 0) for state in SETTLED}
    # what was settled after its counts were forgotten was not queued in them
    unsettled = max(0, counts.get("queued", 0) - sum(settled.values()))
    return CampaignStanding(name.decode(errors="replace"), unsettled, settled)


def _count(value: bytes) -> int:
    try:
        return max(0, int(value))
    except ValueError:
        return 0
