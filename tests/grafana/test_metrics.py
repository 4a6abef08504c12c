"""Every metric of the code is used in `grafana/` or listed as unused, and none is used that is not there."""

from grafana.unused import UNUSED
from tests.grafana.files import documented, metrics, queries, recorded, records, rules

# `ProcessCollector` of prometheus_client has these, on Linux.
OF_PROCESSES = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}


def used() -> set[str]:
    expressions = [asked.expr for asked in queries()] + [rule["expr"] for rule in rules()]
    return set().union(*map(metrics, expressions))


def test_every_metric_that_is_used_exists() -> None:
    assert used() - documented() - OF_PROCESSES == set()


def test_every_metric_is_used_or_listed_as_unused() -> None:
    assert documented() - used() - set(UNUSED) == set()


def test_what_is_listed_as_unused_exists_is_unused_and_has_a_reason() -> None:
    assert set(UNUSED) <= documented() - used()
    assert all(UNUSED.values())


def test_every_recorded_series_that_is_used_is_recorded_and_used_once_at_least() -> None:
    expressions = [asked.expr for asked in queries()] + [rule["expr"] for rule in rules()]
    assert set().union(*map(recorded, expressions)) == {rule["record"] for rule in records()}
