"""Metrics that no dashboard and no rule uses, and why they exist all the same."""

from typing import Final

UNUSED: Final[dict[str, str]] = {
    "dispatcher_observer_errors_total": "a bug in metrics or logs; `observer.failed` is logged with its traceback",
}
