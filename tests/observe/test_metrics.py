"""Metrics: on a registry of their own, as documented, and served."""

import re
import socket
import urllib.request
from importlib import resources
from typing import NamedTuple

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from dispatcher.errors import SettingsError
from dispatcher.exporter.collector import COUNTERS, FAMILIES
from dispatcher.exporter.look import Look
from dispatcher.exporter.run import ExporterMetrics
from dispatcher.observe.metrics import ApiMetrics, Metrics, ProcessMetrics, serve_metrics
from tests.observe import docs
from tests.servers import PATIENCE_S


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def test_the_global_registry_stays_as_it_is() -> None:
    before = set(REGISTRY._names_to_collectors)
    first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    first.claims.inc()
    assert first.registry.get_sample_value("dispatcher_claims_total") == 1
    assert second.registry.get_sample_value("dispatcher_claims_total") == 0
    assert set(REGISTRY._names_to_collectors) == before


def test_the_build_is_named(metrics: Metrics) -> None:
    samples = [sample for family in metrics.build_info.collect() for sample in family.samples]
    assert [(set(sample.labels), sample.value) for sample in samples] == [({"version", "python"}, 1)]


def test_an_answer_of_a_second_and_a_wait_of_hours_have_buckets(metrics: Metrics) -> None:
    metrics.enqueue_to_post.labels("bulk").observe(5 * 3600)
    metrics.enqueue_to_post.labels("urgent").observe(0.004)
    value = metrics.registry.get_sample_value
    bucket = "dispatcher_enqueue_to_post_seconds_bucket"
    assert value(bucket, {"lane": "bulk", "le": "14400.0"}) == 0
    assert value(bucket, {"lane": "bulk", "le": "43200.0"}) == 1
    assert value(bucket, {"lane": "urgent", "le": "0.005"}) == 1


def test_metrics_are_served_until_closed(metrics: Metrics) -> None:
    metrics.attempts.labels("reject", "132000").inc()
    server = serve_metrics(metrics, 0, addr="127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    assert 'dispatcher_attempts_total{code="132000",outcome="reject"} 1.0' in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    server.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
        pass


def test_a_port_in_use_is_a_problem_of_the_settings(metrics: Metrics) -> None:
    first = serve_metrics(metrics, 0, addr="127.0.0.1")
    with pytest.raises(SettingsError) as raised:
        serve_metrics(metrics, first.port, addr="127.0.0.1")
    first.close()
    assert str(raised.value) == (
        f"DISPATCHER_METRICS_PORT: cannot listen on 127.0.0.1:{first.port} (Address already in use); "
        "give a free port, or 0"
    )


@pytest.mark.parametrize("process", ["worker", "api", "exporter"])
def test_the_documentation_lists_every_metric_as_it_is(process: str) -> None:
    assert docs.metrics(process) == [documented(metric) for metric in own(process)]


def test_the_documentation_lists_the_values_of_every_label() -> None:
    labels = {label for process in ("worker", "api", "exporter") for metric in own(process) for label in metric.labels}
    assert docs.labels() == labels


def test_each_script_is_a_value_of_its_label() -> None:
    nouns = [noun for noun in (resources.files("dispatcher.store") / "lua").iterdir() if noun.name != "shared"]
    scripts = [file.name.removesuffix(".lua") for noun in nouns for file in noun.iterdir()]
    listed = docs.values("script", "dispatcher_redis_script_seconds")
    assert sorted(name for name in listed if "/" not in name) == sorted(scripts)


def test_each_label_value_of_what_the_cell_counts_is_listed() -> None:
    for counter in COUNTERS:
        for values in counter.known:
            for label, value in zip(counter.labels, values, strict=True):
                assert value in docs.values(label, f"{counter.name}_total"), counter.name


@pytest.mark.parametrize(("process", "made"), [("worker", Metrics), ("api", ApiMetrics)])
def test_each_metric_is_set_by_its_process(process: str, made: type[ProcessMetrics]) -> None:
    folder = resources.files("dispatcher") / process
    code = "".join(file.read_text() for file in folder.iterdir() if file.name.endswith(".py"))
    names = {name for name, each in vars(made(CollectorRegistry())).items() if isinstance(each, MetricWrapperBase)}
    assert {name for name in names if not re.search(rf"metrics\.{name}\b", code)} == {"build_info"}


def test_no_name_is_declared_twice() -> None:
    worker, api = set(own("worker")), set(own("api"))
    assert {each.name for each in worker & api} == {
        "dispatcher_observer_errors_total", "dispatcher_redis_round_trip_seconds", "dispatcher_redis_script_seconds",
        "dispatcher_build_info",
    }  # fmt: skip
    assert len({each.name for each in worker | api}) == len(worker | api)
    for name in ("redis_round_trip", "redis_script"):
        buckets = [getattr(made(CollectorRegistry()), name)._upper_bounds for made in (Metrics, ApiMetrics)]
        assert buckets[0] == buckets[1]


class Described(NamedTuple):
    name: str
    type: str
    labels: tuple[str, ...]
    documentation: str


def own(process: str) -> list[Described]:
    """The metrics of a process, in the order of its code."""
    if process == "exporter":
        made = ExporterMetrics(CollectorRegistry(), lambda: Look(0.0, None))
        families = [Described(each.name, "gauge", each.labels, each.documentation) for each in FAMILIES]
        counters = [Described(f"{each.name}_total", "counter", each.labels, each.documentation) for each in COUNTERS]
        return [*families, *counters, described(made.build_info)]
    metrics = (Metrics if process == "worker" else ApiMetrics)(CollectorRegistry())
    return [described(metric) for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]


def described(metric: MetricWrapperBase) -> Described:
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Described(name, family.type, tuple(metric._labelnames), family.documentation)


def documented(metric: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.documentation} |"
