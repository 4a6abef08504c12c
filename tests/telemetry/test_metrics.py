"""Metrics: on a registry of their own, as documented, and served."""

import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from dispatcher.api.metrics import ApiMetrics
from dispatcher.errors import SettingsError
from dispatcher.telemetry import Metrics, serve_metrics

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


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
    metrics.settled.labels("dead", "held").inc()
    server = serve_metrics(metrics, 0, addr="127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    assert 'dispatcher_settled_total{cause="held",state="dead"} 1.0' in lines
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


def test_the_documentation_lists_every_metric_as_it_is(metrics: Metrics) -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `dispatcher_")]
    assert lines == [documented(metric) for metric in [*own(metrics), *own(ApiMetrics(CollectorRegistry()))]]


def test_the_documentation_lists_the_values_of_every_label(metrics: Metrics) -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `") and line.count("|") == 3]
    every = [*own(metrics), *own(ApiMetrics(CollectorRegistry()))]
    labels = {label for metric in every for label in metric._labelnames}
    assert {label for label in labels if not any(f"`{label}`" in line.split("|")[1] for line in lines)} == set()


def own(metrics: Metrics | ApiMetrics) -> list[MetricWrapperBase]:
    return [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]


def documented(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
