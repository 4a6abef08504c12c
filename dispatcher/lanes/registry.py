"""The numbers of a cell, as workers and commands publish them: merged, never removed by absence."""

import difflib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from dispatcher import errors
from dispatcher.lanes.keys import Keys
from dispatcher.lanes.line import Argument, Line
from dispatcher.lanes.record import read_object
from dispatcher.lanes.script import script

# A number published by a new worker is known to every producer after this time at the latest.
_FRESH_S = 5.0
_PUBLISHED_A_CALL = 1000


@dataclass(frozen=True, slots=True)
class Registered:
    """What producers and operators need to know of a number; the token is not among it."""

    id: str
    name: str
    rate_per_s: float
    waba_id: str


class Registry:
    """Publishes and finds numbers; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line = line
        self._keys = keys
        self._known: dict[str, Registered] = {}
        self._read_at = float("-inf")

    async def publish(self, numbers: Iterable[Registered]) -> None:
        """Write numbers down; what is written already stays."""
        row: list[Argument] = []
        for number in numbers:
            entry = {"name": number.name, "rate": number.rate_per_s, "waba": number.waba_id}
            row += [number.id, json.dumps(entry)]
        for at in range(0, len(row), _PUBLISHED_A_CALL):
            await self._line.call(script("publish"), (self._keys("numbers"),), row[at : at + _PUBLISHED_A_CALL])
        self._read_at = float("-inf")

    async def all(self) -> list[Registered]:
        """List the numbers of the cell by id."""
        raw = await self._line.command("HGETALL", self._keys("numbers"))
        rows = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        found = [_registered(number.decode(errors="replace"), entry) for number, entry in sorted(rows.items())]
        self._known = {number.name: number for number in found if number.name} | {n.id: n for n in found}
        self._read_at = time.monotonic()
        return found

    async def find(self, named: str) -> Registered:
        """Find a number by id or name.

        Raises:
            UnknownNumber: with the nearest one, or with what to do where the cell has none.
        """
        if named not in self._known or time.monotonic() - self._read_at > _FRESH_S:
            await self.all()
        if named in self._known:
            return self._known[named]
        if not self._known:
            raise errors.UnknownNumber(
                "number", f"no numbers registered in cell {self._keys.cell}: start a worker or give NUMBERS_FILE"
            )
        near = difflib.get_close_matches(named, self._known, n=1)
        hint = f", did you mean {near[0]}?" if near else f"; there is {', '.join(sorted(self._known)[:5])}"
        raise errors.UnknownNumber("number", f"{named} is not a number of cell {self._keys.cell}{hint}")


def _registered(number: str, row: bytes) -> Registered:
    entry = read_object(row)  # a row that cannot be read still is a number
    rate = entry.get("rate")
    return Registered(
        number, str(entry.get("name", "")), float(rate) if isinstance(rate, int | float) else 0.0,
        str(entry.get("waba", "")),
    )  # fmt: skip
