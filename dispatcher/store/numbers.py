"""The numbers of a cell, as workers and commands publish them: merged, never removed by absence."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from dispatcher.store.queue import read_object
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Argument, Command, Steps, call, plain

if TYPE_CHECKING:
    from dispatcher.settings import Number

NEAREST_AMONG: Final = 25
"""Numbers that the nearest name is looked for among: half a millisecond of a process that has other things to do."""
NEAREST_AMONG_COMMAND: Final = 10_000
"""The same for a command that does nothing else."""
# So that neither this process nor Redis stands still for longer than two milliseconds.
_PUBLISHED_A_CALL = 100


@dataclass(frozen=True, slots=True)
class Registered:
    """What producers and operators need to know of a number; neither its token nor its rate, which the gate gives."""

    id: str
    name: str
    waba_id: str


class Found(NamedTuple):
    """The id of a number, or why there is none."""

    id: str
    reason: str = ""


class _Published(NamedTuple):
    id: str
    name: str
    waba: str
    rate: float
    written: Argument


def publish(
    cell: Cell, numbers: Iterable["Number"], *, written_us: int = 0, changed: Iterable[str] = ()
) -> Steps[None]:
    """Write numbers down, part by part; what is written already stays.

    A rate is written where there is none, where the file of this one is newer than that of the one before
    (`written_us`: µs of the wall clock; 0 for one that overrides none), and for the numbers whose rate in the file
    has `changed` just now.
    """
    just_now = frozenset(changed)
    for part in _parts(numbers):
        entries = (
            _Published(n.id, n.name, n.waba_id or "", n.rate_per_s, "now" if n.id in just_now else written_us)
            for n in part
        )
        yield call(cell, "numbers/publish", int, entries=entries)


def all_(cell: Cell) -> Command[list[Registered]]:
    """List the numbers of the cell by id."""

    def parse(reply: list[bytes]) -> list[Registered]:
        rows = sorted(zip(reply[::2], reply[1::2], strict=True))
        return [_registered(number.decode(errors="replace"), row) for number, row in rows]

    return plain("HGETALL", cell.key("numbers"), parse=parse)


def get(cell: Cell, number: str) -> Command[Registered]:
    """Return what is written down of a number, by its id."""
    return plain("HGET", cell.key("numbers"), number, parse=lambda row: _registered(number, row or b""))


def find(cell: Cell, named: str, *, nearest_among: int = NEAREST_AMONG) -> Steps[Found]:
    """Find a number by id or name: one command for one that is known.

    For one that is not, the reason names the nearest where the cell has at most `nearest_among`, or says what to do
    where it has none.
    """
    name = named.encode(errors="replace")  # the command line takes any bytes
    if name.isdigit():
        if (yield plain("HEXISTS", cell.key("numbers"), name, parse=bool)):
            return Found(named)
        return (yield from _unknown(cell, named, nearest_among))
    ids: list[str] = (yield plain("HGET", cell.key("names"), name, parse=lambda row: row or b"")).decode().split()
    if len(ids) > 1:
        which = ", ".join(sorted(ids)[:5]) + (", …" if len(ids) > 5 else "")
        return Found("", f"{named} is the name of {len(ids)} numbers of cell {cell.name}, {which}: give the id")
    return Found(ids[0]) if ids else (yield from _unknown(cell, named, nearest_among))


def _unknown(cell: Cell, named: str, nearest_among: int) -> Steps[Found]:
    """Say what would be right, as far as that is cheap."""
    count = yield plain("HLEN", cell.key("numbers"), parse=int)
    if not count:
        return Found("", f"no numbers registered in cell {cell.name}: start a worker or give NUMBERS_FILE")
    if count > nearest_among:
        hint = f", which has {count:,}: `dispatcher numbers` lists them"
    else:
        names = yield [plain("HKEYS", cell.key(key), parse=list) for key in ("numbers", "names")]
        known = sorted({name.decode(errors="replace") for some in names for name in some})
        near = difflib.get_close_matches(named, known, n=1)
        hint = f", did you mean {near[0]}?" if near else f"; there is {', '.join(known[:5])}"
    return Found("", f"{named} is not a number of cell {cell.name}{hint}")


def _parts(numbers: Iterable["Number"]) -> Iterator[list["Number"]]:
    waiting = iter(numbers)
    while part := list(islice(waiting, _PUBLISHED_A_CALL)):
        yield part


def _registered(number: str, row: bytes) -> Registered:
    entry = read_object(row)  # a row that cannot be read still is a number
    return Registered(number, str(entry.get("name", "")), str(entry.get("waba", "")))
