"""Turns what was seen of a cell into metrics. Label values come from closed sets, or are numbers and campaigns."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dispatcher.exporter import families
from dispatcher.exporter.look import Cell, Look
from dispatcher.store.survey import Standing, Standings
from dispatcher.policy.outcome import Why
from dispatcher.message.priority import Priority

LANES: Final = tuple(priority.value for priority in Priority)
STATES: Final = ("open", "blocked", "half_open", "stopped")
SCOPE_KINDS: Final = ("all", "number", "lane", "waba", "credential", "template", "campaign")
_WHYS: Final = frozenset(Why) | {"all", "number", "waba", "credential"}

Families = Iterator[GaugeMetricFamily]


class CellCollector(Collector):
    """Asks for the latest look at the cell with each scrape."""

    def __init__(self, latest: Callable[[], Look]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name all metrics, so that registering looks at nothing."""
        return [family.of([]) for family in families.FAMILIES]

    def collect(self) -> Families:
        """Return what there is now; of a cell that cannot be looked at, only that."""
        look = self._latest()
        yield families.UP.single(look.cell is not None)
        yield families.SCRAPE.single(look.took_s)
        if look.cell is not None:
            yield from _cell(look.cell)


def _cell(cell: Cell) -> Families:
    if cell.numbers is not None:
        yield from _numbers(cell.numbers)
        yield from _totals(cell.numbers)
    yield from _messages(cell)
    if cell.stops is not None:
        yield families.STOPS.of(_stops(cell))
    kinds = (("worker", cell.workers), ("door", cell.doors))
    yield families.PROCESSES.of(((kind,), count) for kind, count in kinds if count is not None)
    yield from _redis(cell)


def _numbers(numbers: Standings) -> Families:
    shown = numbers.shown
    yield families.NUMBERS.single(numbers.count)
    yield families.QUEUE_WAITING.of(_by_lane(shown, lambda each: each.waiting))
    yield families.QUEUE_OLDEST.of(_by_lane(shown, lambda each: each.oldest_s))
    yield families.QUEUE_WAIT.of(_by_lane(shown, lambda each: each.wait_s))
    yield families.NUMBER_RATE.of(
        ((each.number.id, kind), rate)
        for each in shown
        for kind, rate in (("configured", each.rate_per_s), ("effective", each.effective_per_s))
    )
    yield families.NUMBER_GATE.of(((each.number.id, each.state, _why(each.why)), 1) for each in shown)
    yield families.NUMBER_INFO.of(((each.number.id, each.number.name, each.number.waba_id), 1) for each in shown)


def _by_lane(
    shown: Iterable[Standing], figures: Callable[[Standing], tuple[float, float, float]]
) -> Iterator[families.Sample]:
    for each in shown:
        for lane, figure in zip(LANES, figures(each), strict=True):
            yield (each.number.id, lane), figure


def _totals(numbers: Standings) -> Families:
    yield families.CELL_WAITING.of(((lane,), count) for lane, count in zip(LANES, numbers.waiting, strict=True))
    yield families.CELL_OLDEST.of(((lane,), age_s) for lane, age_s in zip(LANES, numbers.oldest_s, strict=True))
    yield families.CELL_GATES.of(((state,), numbers.states[state]) for state in STATES)


def _messages(cell: Cell) -> Families:
    counts = cell.counts
    states = {"sending": counts.sending, "uncertain": counts.uncertain, "parked": counts.parked, "dead": counts.dead}
    if cell.numbers is not None:
        states["waiting"] = sum(cell.numbers.waiting)
    yield families.MESSAGES.of(((state,), count) for state, count in states.items())
    yield families.CAMPAIGN_MESSAGES.of(
        ((each.name, state), count)
        for each in cell.campaigns
        for state, count in (("waiting", each.unsettled), *each.settled.items())
    )


def _stops(cell: Cell) -> Iterator[families.Sample]:
    """Give each kind of scope a figure, also where there is none; what is no scope stops nothing."""
    stops = cell.stops or Counter()
    for kind in SCOPE_KINDS:
        for action in ("hold", "cancel"):
            yield (kind, action), stops.get((kind, action), 0)


def _redis(cell: Cell) -> Families:
    health = cell.health
    yield families.REDIS_MEMORY.of([(("used",), health.used_bytes), (("max",), health.max_bytes)])
    yield families.REDIS_NOEVICTION.single(health.never_evicts)
    yield families.REDIS_AOF.single(health.is_append_only)
    yield families.REDIS_PERSISTENCE.single(health.persistence_ok)
    if cell.unreadable is not None:
        yield families.UNREADABLE_WEBHOOKS.single(cell.unreadable)
    yield families.EVENTS_LAG.of(((lag.stream, lag.group), lag.oldest_s) for lag in cell.lags)


def _why(why: str) -> str:
    return why if not why or why in _WHYS else "other"
