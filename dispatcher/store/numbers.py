"""The numbers of a cell, as workers and commands publish them: merged, never removed by absence."""

import asyncio
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from dispatcher import errors
from dispatcher.store.cache import Cache
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.record import read_object
from dispatcher.store.scripts import script

NEAREST_AMONG: Final = 50
"""Numbers that the nearest name is looked for among: 1 ms of a process that has other things to do."""
NEAREST_AMONG_COMMAND: Final = 10_000
"""The same for a command that does nothing else."""
# What a worker publishes is known to every producer after this time at the latest.
_KNOWN_FRESH_S = 5.0
_UNKNOWN_FRESH_S = 1.0
_KEPT_MOST = 50_000
# So that neither this process nor Redis stands still for longer than two milliseconds.
_PUBLISHED_A_CALL = 100


@dataclass(frozen=True, slots=True)
class Registered:
    """What producers and operators need to know of a number; neither its token nor its rate, which the gate gives."""

    id: str
    name: str
    waba_id: str


@dataclass(frozen=True, slots=True)
class Published:
    """A number as a numbers file gives it, with its messages a second."""

    id: str
    name: str
    rate_per_s: float
    waba_id: str


@dataclass(frozen=True, slots=True)
class _Found:
    """The number's id, or why there is none."""

    id: str
    reason: str = ""


class Registry:
    """Publishes and finds numbers; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, *, nearest_among: int = NEAREST_AMONG) -> None:
        """Use a line; an unknown number names the nearest one where the cell has at most `nearest_among`."""
        self._line = line
        self._keys = keys
        self._nearest_among = nearest_among
        self._found = Cache(self._find, _fresh_s, most=_KEPT_MOST)

    async def publish(self, numbers: Iterable[Published], *, written_us: int = 0, changed: Iterable[str] = ()) -> None:
        """Write numbers down, part by part; what is written already stays.

        A rate is written where there is none, where the file of this one is newer than that of the one before
        (`written_us`: µs of the wall clock; 0 for one that overrides none), and for the numbers whose rate in the file
        has `changed` just now.
        """
        just_now = frozenset(changed)
        keys = (self._keys("numbers"), self._keys("names"))
        for part in _parts(numbers):
            args: list[Argument] = [self._keys.prefix]
            for each in part:
                written: int | Literal["now"] = "now" if each.id in just_now else written_us
                args += [each.id, each.name, each.waba_id, each.rate_per_s, written]
            await self._line.call(script("publish"), keys, args)
        self._found.forget()

    async def all(self) -> list[Registered]:
        """List the numbers of the cell by id."""
        raw = await self._line.command("HGETALL", self._keys("numbers"))
        rows = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        return [_registered(number.decode(errors="replace"), entry) for number, entry in sorted(rows.items())]

    async def id_of(self, named: str) -> str:
        """Return the id of a number, given its id or its name: one command at most, and one for all who ask.

        Raises:
            UnknownNumber: with the nearest one, or with what to do where the cell has none.
        """
        found = (await self.ids_of([named]))[named]
        if isinstance(found, errors.UnknownNumber):
            raise found
        return found

    async def ids_of(self, named: Iterable[str]) -> Mapping[str, str | errors.UnknownNumber]:
        """The same for many at once; for what names no number, the error that says so."""
        found = await self._found.get_all(named)
        return {name: each.id or errors.UnknownNumber("number", each.reason) for name, each in found.items()}

    async def find(self, named: str) -> Registered:
        """Find a number by id or name, with what is written down of it; raises as `id_of` does."""
        number = await self.id_of(named)
        return _registered(number, await self._line.command("HGET", self._keys("numbers"), number) or b"")

    async def _find(self, named: str) -> _Found:
        name = named.encode(errors="replace")  # the command line takes any bytes
        if name.isdigit():
            known = await self._line.command("HEXISTS", self._keys("numbers"), name)
            return _Found(named) if known else await self._unknown(named)
        ids = (await self._line.command("HGET", self._keys("names"), name) or b"").decode(errors="replace").split()
        if len(ids) > 1:
            which = ", ".join(sorted(ids)[:5]) + (", …" if len(ids) > 5 else "")
            reason = f"{named} is the name of {len(ids)} numbers of cell {self._keys.cell}, {which}: give the id"
            return _Found("", reason)
        return _Found(ids[0]) if ids else await self._unknown(named)

    async def _unknown(self, named: str) -> _Found:
        """Say what would be right, as far as that is cheap."""
        cell, count = self._keys.cell, await self._line.command("HLEN", self._keys("numbers"))
        if not count:
            return _Found("", f"no numbers registered in cell {cell}: start a worker or give NUMBERS_FILE")
        return _Found("", f"{named} is not a number of cell {cell}{await self._hint(named, count)}")

    async def _hint(self, named: str, count: int) -> str:
        if count > self._nearest_among:
            return f", which has {count:,}: `dispatcher numbers` lists them"
        found = await asyncio.gather(*(self._line.command("HKEYS", self._keys(key)) for key in ("numbers", "names")))
        known = sorted({name.decode(errors="replace") for names in found for name in names})
        near = difflib.get_close_matches(named, known, n=1)
        return f", did you mean {near[0]}?" if near else f"; there is {', '.join(known[:5])}"


def _fresh_s(found: _Found) -> float:
    return _KNOWN_FRESH_S if found.id else _UNKNOWN_FRESH_S


def _parts(numbers: Iterable[Published]) -> Iterator[list[Published]]:
    waiting = iter(numbers)
    while part := list(islice(waiting, _PUBLISHED_A_CALL)):
        yield part


def _registered(number: str, row: bytes) -> Registered:
    entry = read_object(row)  # a row that cannot be read still is a number
    return Registered(number, str(entry.get("name", "")), str(entry.get("waba", "")))
