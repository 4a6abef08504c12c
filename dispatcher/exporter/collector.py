"""Turns a look at a cell into metrics: their names and labels in one place.

Label values come from closed sets, or are numbers and campaigns.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dispatcher.exporter.look import Look, Seen
from dispatcher.message.states import Cause
from dispatcher.policy import scope
from dispatcher.policy.outcome import Why
from dispatcher.store import cell as cells
from dispatcher.store.cell import Standing
from dispatcher.store.schema import LANES

Sample = tuple[Sequence[str], float]


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge whose samples are made anew for each scrape."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()

    def of(self, samples: Iterable[Sample]) -> GaugeMetricFamily:
        """Return it with samples, each the values of its labels and a figure."""
        family = GaugeMetricFamily(self.name, self.documentation, labels=self.labels)
        for values, figure in samples:
            family.add_metric(values, figure)
        return family

    def single(self, figure: float) -> GaugeMetricFamily:
        """Return it with one sample that has no labels."""
        return self.of([((), figure)])


@dataclass(frozen=True, slots=True)
class Happened:
    """A counter that the cell's scripts keep under `count`; `known` are label values that exist from the start.

    What alerts look at must: the first of a kind would be no increase.
    """

    name: str
    documentation: str
    count: str
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ((),)

    def of(self, counts: Mapping[tuple[str, ...], int]) -> CounterMetricFamily:
        """Return it with a sample for each combination of label values; others than these are none of ours."""
        family = CounterMetricFamily(self.name, self.documentation, labels=self.labels)
        for values in self.known:
            family.add_metric(values, counts.get((self.count, *values), 0))
        return family


UP: Final = Family("dispatcher_exporter_up", "1 if the cell could be read from Redis; if 0, all the rest is absent")
SCRAPE: Final = Family("dispatcher_exporter_scrape_seconds", "How long it took to read the cell")
NUMBERS: Final = Family("dispatcher_numbers", "Numbers registered in the cell")
QUEUE_WAITING: Final = Family(
    "dispatcher_queue_waiting", "Messages in the lane, those for later included", ("number", "lane")
)
QUEUE_OLDEST: Final = Family(
    "dispatcher_queue_oldest_runnable_seconds",
    "For how long the head of the lane has been due; 0 if nothing is",
    ("number", "lane"),
)
QUEUE_WAIT: Final = Family(
    "dispatcher_queue_estimated_wait_seconds",
    "Wait of a new message: the rest of a block, then what is in this and higher lanes; +Inf if nothing leaves",
    ("number", "lane"),
)
NUMBER_RATE: Final = Family(
    "dispatcher_number_rate_per_second", "Messages that may leave the number in a second", ("number", "kind")
)
NUMBER_GATE: Final = Family(
    "dispatcher_number_gate", "Always 1; the state of the number's gate, and why", ("number", "state", "why")
)
NUMBER_INFO: Final = Family("dispatcher_number_info", "Always 1; which number this is", ("number", "name", "waba"))
CELL_WAITING: Final = Family("dispatcher_cell_waiting", "Messages in the lanes of all numbers together", ("lane",))
CELL_OLDEST: Final = Family(
    "dispatcher_cell_oldest_runnable_seconds",
    "For how long the head of the lane that is furthest behind has been due",
    ("lane",),
)
CELL_GATES: Final = Family("dispatcher_cell_gates", "Numbers by the state of their gate", ("state",))
MESSAGES: Final = Family("dispatcher_messages", "Messages that are not settled, and those that are dead", ("state",))
STOPS: Final = Family("dispatcher_stops", "Stops in force", ("scope_kind", "action"))
PROCESSES: Final = Family("dispatcher_processes", "Processes that gave a sign of life in the last 10 s", ("kind",))
CAMPAIGN_MESSAGES: Final = Family(
    "dispatcher_campaign_messages",
    "Messages of running campaigns, of at most 20: those with most left to send",
    ("campaign", "state"),
)
REDIS_MEMORY: Final = Family(
    "dispatcher_redis_memory_bytes", "Memory of the cell's Redis; max is 0 where it has no limit", ("kind",)
)
REDIS_NOEVICTION: Final = Family(
    "dispatcher_redis_noeviction", "Whether a full Redis refuses new data instead of evicting old"
)
REDIS_AOF: Final = Family("dispatcher_redis_aof_enabled", "Whether append-only persistence is on")
REDIS_PERSISTENCE: Final = Family("dispatcher_redis_persistence_ok", "Whether Redis's last write to disk succeeded")
UNREADABLE_WEBHOOKS: Final = Family(
    "dispatcher_unreadable_webhooks", "Parts of webhooks that could not be read, kept for a person"
)
EVENTS_LAG: Final = Family(
    "dispatcher_events_lag_seconds",
    "Age of the oldest entry that a group has not acknowledged",
    ("stream", "group"),
)

COUNTERS: Final = (
    Happened(
        "dispatcher_enqueued",
        "Messages that were put into a lane",
        "enqueued",
        ("lane",),
        tuple((lane,) for lane in LANES),
    ),
    Happened(
        "dispatcher_settled",
        "Messages that became settled",
        "settled",
        ("state", "cause"),
        (
            *((state, "none") for state in ("accepted", "expired", "cancelled", "suppressed")),
            *(("dead", cause.value) for cause in Cause),
        ),
    ),
    Happened("dispatcher_uncertain", "Sends whose answer was lost", "uncertain", ("cause",), (("answer",), ("lease",))),
    Happened(
        "dispatcher_resends",
        "Uncertain messages that went back to their lane",
        "resent",
        ("proof",),
        (("absence",), ("none",)),
    ),
    Happened("dispatcher_duplicate_acceptances", "Messages that Meta accepted a second time", "accepted_again"),
    Happened(
        "dispatcher_gate_closings",
        "Times a number was blocked",
        "gate_closed",
        ("why",),
        tuple((why.value,) for why in Why),
    ),
)
"""What happened in the cell, counted by the scripts that did it."""

FAMILIES: Final = (
    UP, SCRAPE, NUMBERS, QUEUE_WAITING, QUEUE_OLDEST, QUEUE_WAIT, NUMBER_RATE, NUMBER_GATE, NUMBER_INFO, CELL_WAITING,
    CELL_OLDEST, CELL_GATES, MESSAGES, STOPS, PROCESSES, CAMPAIGN_MESSAGES, REDIS_MEMORY, REDIS_NOEVICTION, REDIS_AOF,
    REDIS_PERSISTENCE, UNREADABLE_WEBHOOKS, EVENTS_LAG,
)  # fmt: skip
"""All of them, in the order of `docs/metrics.md`."""

STATES: Final = ("open", "blocked", "half_open", "stopped")
ALL_SHOWN_MAX: Final = 500
WORST_SHOWN: Final = 50
"""Of more numbers than the first, only so many are shown: those that need somebody most."""
_WHYS: Final = frozenset(Why) | {"all", "number", "waba", "credential"}

Families = Iterator[Metric]


class CellCollector(Collector):
    """Asks for the latest look at the cell with each scrape."""

    def __init__(self, latest: Callable[[], Look]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Name all metrics, so that registering looks at nothing."""
        return [*(family.of([]) for family in FAMILIES), *(counter.of({}) for counter in COUNTERS)]

    def collect(self) -> Families:
        """Return what there is now; of a cell that cannot be looked at, only that."""
        look = self._latest()
        yield UP.single(look.cell is not None)
        yield SCRAPE.single(look.took_s)
        if look.cell is not None:
            yield from _cell(look.cell)
            yield from (counter.of(look.cell.happened) for counter in COUNTERS)


def _cell(cell: Seen) -> Families:
    if cell.numbers is not None:
        yield from _numbers(cell.numbers)
        yield from _totals(cell.numbers)
    yield from _messages(cell)
    yield STOPS.of(_stops(cell))
    yield PROCESSES.of([(("worker",), len(cell.around.processes)), (("door",), cell.around.doors)])
    yield from _redis(cell)


def _numbers(numbers: Sequence[Standing]) -> Families:
    shown = numbers if len(numbers) <= ALL_SHOWN_MAX else cells.worst(numbers, WORST_SHOWN)
    yield NUMBERS.single(len(numbers))
    yield QUEUE_WAITING.of(_by_lane(shown, lambda each: each.waiting))
    yield QUEUE_OLDEST.of(_by_lane(shown, lambda each: each.oldest_s))
    yield QUEUE_WAIT.of(_by_lane(shown, lambda each: each.wait_s))
    yield NUMBER_RATE.of(
        ((each.number.id, kind), rate)
        for each in shown
        for kind, rate in (("configured", each.rate_per_s), ("effective", each.effective_per_s))
    )
    yield NUMBER_GATE.of(((each.number.id, each.state, _why(each.why)), 1) for each in shown)
    yield NUMBER_INFO.of(((each.number.id, each.number.name, each.number.waba_id), 1) for each in shown)


def _by_lane(shown: Iterable[Standing], figures: Callable[[Standing], Sequence[float]]) -> Iterator[Sample]:
    for each in shown:
        for lane, figure in zip(LANES, figures(each), strict=True):
            yield (each.number.id, lane), figure


def _totals(numbers: Sequence[Standing]) -> Families:
    yield CELL_WAITING.of(((lane,), sum(each.waiting[at] for each in numbers)) for at, lane in enumerate(LANES))
    yield CELL_OLDEST.of(
        ((lane,), max((each.oldest_s[at] for each in numbers), default=0.0)) for at, lane in enumerate(LANES)
    )
    states = Counter(each.state for each in numbers)
    yield CELL_GATES.of(((state,), states[state]) for state in STATES)


def _messages(cell: Seen) -> Families:
    counts = cell.counts
    states = {
        "sending": counts.sending,
        "uncertain": counts.uncertain,
        "parked": sum(counts.parked.values()),
        "dead": counts.dead,
    }
    if cell.numbers is not None:
        states["waiting"] = sum(sum(each.waiting) for each in cell.numbers)
    yield MESSAGES.of(((state,), count) for state, count in states.items())
    yield CAMPAIGN_MESSAGES.of(
        ((each.name, state), count)
        for each in cell.campaigns
        for state, count in (("waiting", each.unsettled), *each.settled.items())
    )


def _stops(cell: Seen) -> Iterator[Sample]:
    """Give each kind of scope a figure, also where there is none; what is no scope stops nothing."""
    stops = cell.stops
    for kind in scope.KINDS:
        for action in ("hold", "cancel"):
            yield (kind, action), stops.get((kind, action), 0)


def _redis(cell: Seen) -> Families:
    health = cell.health
    yield REDIS_MEMORY.of([(("used",), health.used_bytes), (("max",), health.max_bytes)])
    yield REDIS_NOEVICTION.single(health.never_evicts)
    yield REDIS_AOF.single(health.is_append_only)
    yield REDIS_PERSISTENCE.single(health.persistence_ok)
    yield UNREADABLE_WEBHOOKS.single(cell.counts.unreadable)
    yield EVENTS_LAG.of(((lag.stream, lag.group), lag.oldest_s) for lag in cell.lags)


def _why(why: str) -> str:
    return why if not why or why in _WHYS else "other"
