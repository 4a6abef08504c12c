"""Meta's own examples, which nobody here wrote: they lie beside the checkout, or where WHATSAPP_FIXTURES points."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dispatcher.simulator.answers import wamid_of
from dispatcher.simulator.send_request import read_send_request

FOLDER = "meta-openapi-v23.0"
# Whose tail Meta shortened by hand.
CUT = {
    "wamid.HBgLMTY0NzM3Nzc3NzUVAgARGBI5QTNEQTA2RjdGMEY4RTRGAA==",
    "wamid.HBgLMTY0NzM3Nzc3NzUVAgARGBI5QTNEQTA2RjdGMEY4RTJHAA==",
}


def examples(kind: str) -> Path:
    """The folder of Meta's examples of one kind, without which the test is left out."""
    if "WHATSAPP_FIXTURES" in os.environ:
        return Path(os.environ["WHATSAPP_FIXTURES"]) / FOLDER / kind
    found = next(Path(__file__).parents[3].glob(f"*/fixtures/{FOLDER}/{kind}"), None)
    if found is None:
        pytest.skip("Meta's examples are not beside the checkout")
    return found


def filled(value: Any, name: str = "") -> Any:
    """The same with values instead of placeholders, where the simulator looks at them."""
    if isinstance(value, dict):
        return {key: filled(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return {"to": "+15551234567", "link": "https://example.com/a", "latitude": 1, "longitude": 1}.get(name, value)


@pytest.mark.fixtures
def test_every_example_of_a_send_by_meta_is_taken() -> None:
    refused: dict[str, str] = {}
    for path in sorted(examples("send_requests").glob("*.json")):
        # Two examples leave the type out, one is a read receipt; we are stricter than that.
        document = json.loads(path.read_text())
        if "type" in document:
            problem = read_send_request("1", 0, "application/json", json.dumps(filled(document)).encode()).problem
            if problem is not None:
                refused[path.name] = problem.details
    assert refused == {}


@pytest.mark.fixtures
def test_ids_are_made_as_those_of_metas_examples_are() -> None:
    texts = [path.read_text() for kind in ("send_responses", "webhooks") for path in examples(kind).glob("*.json")]
    wamids = {wamid for text in texts for wamid in re.findall(r"wamid\.HBgL[A-Za-z0-9+/]{20,}=*", text)}
    for wamid in wamids - CUT:
        content = base64.b64decode(wamid.removeprefix("wamid."), validate=True)
        person, rest = content[3 : 3 + content[2]], content[3 + content[2] :]
        made = wamid_of(person.decode(), rest[6:-1].decode(), is_inbound=rest[3] == 0x12)
        assert made == wamid
    assert len(wamids - CUT) > 10
