"""Examples in Meta's shapes, Meta's own among them, as the simulator takes them."""

import json
from typing import Any

import pytest

from dispatcher.simulator.post import read_post
from tests.examples import SOURCES, payloads


def filled(value: Any, name: str = "") -> Any:
    """The same with values instead of placeholders, where the simulator looks at them."""
    if isinstance(value, dict):
        return {key: filled(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return {"to": "+15551234567", "link": "https://example.com/a", "latitude": 1, "longitude": 1}.get(name, value)


@pytest.mark.parametrize("source", SOURCES)
def test_every_example_of_a_send_is_taken(source: str) -> None:
    refused: dict[str, str] = {}
    for name, document in payloads(source, "send_requests").items():
        # Some examples leave the type out, one is a read receipt; we are stricter than that.
        if "type" in document:
            problem = read_post("1", 0, "application/json", json.dumps(filled(document)).encode()).problem
            if problem is not None:
                refused[name] = problem.details
    assert refused == {}
