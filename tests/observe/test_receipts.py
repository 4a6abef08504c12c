"""What an API process counts of receipts: what Meta says of their price, and how long deliveries took."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from dispatcher.api.journal import ApiJournal
from dispatcher.meta.webhook import Receipt
from dispatcher.observe.metrics import ApiMetrics
from dispatcher.store.receipts import Applied
from tests.observe.docs import assert_documented


def heard(applied: Applied, status: str = "sent", pricing: str = "") -> CollectorRegistry:
    metrics = ApiMetrics(CollectorRegistry())
    with capture_logs():
        ApiJournal(metrics, "p").receipt_applied(Receipt("wamid.1", status, 1, "106", "102", pricing=pricing), applied)
    assert_documented(metrics.registry, {"version", "python"})
    return metrics.registry


@pytest.mark.parametrize(
    ("pricing", "category", "billable"),
    [
        ("", "unknown", "unknown"),
        ('{"billable":true,"pricing_model":"PMP","category":"utility","type":"regular"}', "utility", "yes"),
        ('{"category":"authentication-international","billable":false}', "authentication_international", "no"),
        ('{"category":"MARKETING_LITE"}', "marketing_lite", "unknown"),
        ('{"category":"something new","billable":"maybe"}', "other", "unknown"),
        ('{"category":5}', "unknown", "unknown"),
    ],
)
def test_a_receipt_is_counted_by_what_meta_charges_for(pricing: str, category: str, billable: str) -> None:
    registry = heard(Applied("sent"), pricing=pricing)
    labels = {"status": "sent", "category": category, "billable": billable}
    assert registry.get_sample_value("dispatcher_receipts_total", labels) == 1


@pytest.mark.parametrize("word", ["", "foreign"])
def test_what_says_nothing_new_of_ours_is_not_counted(word: str) -> None:
    labels = {"status": "sent", "category": "unknown", "billable": "unknown"}
    assert heard(Applied(word)).get_sample_value("dispatcher_receipts_total", labels) is None


def test_a_delivery_is_measured_by_its_lane() -> None:
    registry = heard(Applied("delivered", 2, 4.2), "delivered")
    name = "dispatcher_accepted_to_delivered_seconds"
    assert registry.get_sample_value(f"{name}_sum", {"lane": "bulk"}) == 4.2
    assert registry.get_sample_value(f"{name}_bucket", {"lane": "bulk", "le": "3.0"}) == 0
    assert registry.get_sample_value(f"{name}_count", {"lane": "urgent"}) == 0
