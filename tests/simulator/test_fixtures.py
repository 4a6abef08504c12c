"""Meta's own examples, which nobody here wrote: they lie beside the checkout, or where WHATSAPP_FIXTURES points."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dispatcher.simulator.post import read_post

EXAMPLES = "meta-openapi-v23.0/send_requests"


def examples() -> Path | None:
    if "WHATSAPP_FIXTURES" in os.environ:
        return Path(os.environ["WHATSAPP_FIXTURES"]) / EXAMPLES
    return next(Path(__file__).parents[3].glob(f"*/fixtures/{EXAMPLES}"), None)


def filled(value: Any, name: str = "") -> Any:
    """The same with values instead of placeholders, where the simulator looks at them."""
    if isinstance(value, dict):
        return {key: filled(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return {"to": "+15551234567", "link": "https://example.com/a", "latitude": 1, "longitude": 1}.get(name, value)


@pytest.mark.fixtures
def test_every_example_of_a_send_by_meta_is_taken() -> None:
    directory = examples()
    if directory is None:
        pytest.skip("Meta's examples are not beside the checkout")
    refused: dict[str, str] = {}
    for path in sorted(directory.glob("*.json")):
        # Two examples leave the type out, one is a read receipt; we are stricter than that.
        document = json.loads(path.read_text())
        if "type" in document:
            problem = read_post("1", 0, "application/json", json.dumps(filled(document)).encode()).problem
            if problem is not None:
                refused[path.name] = problem.details
    assert refused == {}
