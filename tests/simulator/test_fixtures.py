"""Examples in Meta's shapes, Meta's own among them, as the simulator takes them."""

import base64
import json
import re
from typing import Any

import pytest

from dispatcher.simulator.answers import wamid_of
from dispatcher.simulator.send_request import read_send_request
from tests.examples import SOURCES, payloads

# Whose tail Meta shortened by hand.
CUT = {
    "wamid.HBgLMTY0NzM3Nzc3NzUVAgARGBI5QTNEQTA2RjdGMEY4RTRGAA==",
    "wamid.HBgLMTY0NzM3Nzc3NzUVAgARGBI5QTNEQTA2RjdGMEY4RTJHAA==",
}


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
            problem = read_send_request("1", 0, "application/json", json.dumps(filled(document)).encode()).problem
            if problem is not None:
                refused[name] = problem.details
    assert refused == {}


@pytest.mark.parametrize("source", SOURCES)
def test_ids_are_made_as_those_of_the_examples_are(source: str) -> None:
    text = json.dumps([payloads(source, kind) for kind in ("send_requests", "webhooks")])
    wamids = {wamid for wamid in re.findall(r"wamid\.HBgL[A-Za-z0-9+/]{20,}=*", text)} - CUT
    for wamid in wamids:
        content = base64.b64decode(wamid.removeprefix("wamid."), validate=True)
        person, rest = content[3 : 3 + content[2]], content[3 + content[2] :]
        assert wamid_of(person.decode(), rest[6:-1].decode(), is_inbound=rest[3] == 0x12) == wamid
    assert wamids
