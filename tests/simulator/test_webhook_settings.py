"""Which settings of webhooks there can be, and what statuses they lead to."""

from typing import Any

import pytest

from dispatcher.simulator import WebhookSettings
from dispatcher.simulator.updates import StatusPlanner


@pytest.mark.parametrize(
    "values",
    [
        {"url": "ftp://x"},
        {"url": "http://x:y"},
        {"lost_sent": 1.1},
        {"failed": -0.1},
        {"read": float("nan")},
        {"sent_ms": -1},
        {"give_up_s": float("inf")},
        {"batch_most": 0},
        {"batch_most": 1001},
        {"connections": 0},
        {"retry_growth": 0.5},
        {"timeout_ms": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values)).replace("url", "webhook URL|port|Port")):
        WebhookSettings(**values)


def test_settings_are_read_from_flags() -> None:
    flags = ["url=http://x/a=b", "sent_ms=5", "failed_code=131049", "is_shuffled=true"]
    assert WebhookSettings.parse(flags) == WebhookSettings(
        url="http://x/a=b", sent_ms=5, failed_code=131049, is_shuffled=True
    )
    for name, flag in (
        ("colour", "colour=red"),
        ("is_shuffled", "is_shuffled=1"),
        ("connections", "connections=0.5"),
        ("sent_ms", "sent_ms=soon"),
        ("url", "url"),
    ):
        with pytest.raises(ValueError, match=name):
            WebhookSettings.parse([flag])


def test_the_same_seed_draws_the_same_statuses() -> None:
    settings = WebhookSettings(read=0.5, failed=0.2, jitter_ms=500, is_shuffled=True)
    first, second, other = StatusPlanner(4), StatusPlanner(4), StatusPlanner(5)
    drawn = [first.plan(settings, is_reaction=False) for _ in range(200)]
    assert drawn == [second.plan(settings, is_reaction=False) for _ in range(200)]
    assert drawn != [other.plan(settings, is_reaction=False) for _ in range(200)]


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_timestamps_tell_the_true_order_and_never_the_future(is_shuffled: bool) -> None:
    settings = WebhookSettings(jitter_ms=5000, is_shuffled=is_shuffled, is_sent_before_failed=True, failed=0.2)
    planner = StatusPlanner(1)
    overtaken = 0
    for _ in range(500):
        steps = planner.plan(settings, is_reaction=False)
        assert [step.due_s for step in steps] == sorted(step.due_s for step in steps)
        assert all(step.happened_s <= step.due_s for step in steps)
        happened_s = {step.kind: step.happened_s for step in steps}
        in_order = [happened_s[kind] for kind in ("sent", "delivered", "read", "failed") if kind in happened_s]
        assert in_order == sorted(in_order)
        overtaken += steps[0].kind not in {"sent", "failed"}
    assert (overtaken > 100) is is_shuffled
