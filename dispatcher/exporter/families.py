"""The metrics of the exporter: their names and labels in one place. It must not know what they measure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily

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


UP: Final = Family("dispatcher_exporter_up", "Whether the cell could be looked at; if not, the rest is absent")
SCRAPE: Final = Family("dispatcher_exporter_scrape_seconds", "How long the look at the cell took")
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
    "What is left of a block, and messages in this and higher lanes by the rate they leave at; +Inf if none leaves",
    ("number", "lane"),
)
NUMBER_RATE: Final = Family(
    "dispatcher_number_rate_per_second", "Messages that may leave the number in a second", ("number", "kind")
)
NUMBER_GATE: Final = Family("dispatcher_number_gate", "Always 1; how the number stands", ("number", "state", "why"))
NUMBER_INFO: Final = Family("dispatcher_number_info", "Always 1; which number this is", ("number", "name", "waba"))
CELL_WAITING: Final = Family("dispatcher_cell_waiting", "Messages in the lanes of all numbers together", ("lane",))
CELL_OLDEST: Final = Family(
    "dispatcher_cell_oldest_runnable_seconds", "For how long the head of such a lane has been due, at most", ("lane",)
)
CELL_GATES: Final = Family("dispatcher_cell_gates", "Numbers by how they stand", ("state",))
MESSAGES: Final = Family("dispatcher_messages", "Messages that are on their way, or wait for a person", ("state",))
STOPS: Final = Family("dispatcher_stops", "Stops in force", ("scope_kind", "action"))
PROCESSES: Final = Family("dispatcher_processes", "Processes alive", ("kind",))
CAMPAIGN_MESSAGES: Final = Family(
    "dispatcher_campaign_messages", "Messages of the 20 running campaigns that most is left of", ("campaign", "state")
)
REDIS_MEMORY: Final = Family(
    "dispatcher_redis_memory_bytes", "Memory of the cell's Redis; max is 0 where it has no limit", ("kind",)
)
REDIS_NOEVICTION: Final = Family("dispatcher_redis_noeviction", "Whether Redis refuses rather than forgets when full")
REDIS_AOF: Final = Family("dispatcher_redis_aof_enabled", "Whether append-only persistence is on")
REDIS_PERSISTENCE: Final = Family("dispatcher_redis_persistence_ok", "Whether Redis could last write what it keeps")
UNREADABLE_WEBHOOKS: Final = Family(
    "dispatcher_unreadable_webhooks", "Parts of webhooks that could not be read, kept for a person"
)
EVENTS_LAG: Final = Family(
    "dispatcher_events_lag_seconds",
    "Age of the oldest entry that a group has not acknowledged",
    ("stream", "group"),
)

FAMILIES: Final = (
    UP, SCRAPE, NUMBERS, QUEUE_WAITING, QUEUE_OLDEST, QUEUE_WAIT, NUMBER_RATE, NUMBER_GATE, NUMBER_INFO, CELL_WAITING,
    CELL_OLDEST, CELL_GATES, MESSAGES, STOPS, PROCESSES, CAMPAIGN_MESSAGES, REDIS_MEMORY, REDIS_NOEVICTION, REDIS_AOF,
    REDIS_PERSISTENCE, UNREADABLE_WEBHOOKS, EVENTS_LAG,
)  # fmt: skip
"""All of them, in the order of `docs/metrics.md`."""
