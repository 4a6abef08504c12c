"""Examples of webhooks in Meta's shapes, Meta's own among them."""

import json
from collections import Counter
from typing import Any

import pytest

from dispatcher.webhooks.reading import read
from dispatcher.webhooks.updates import Inbound, Notice, Update
from tests.examples import NUMBER, PERSON, SOURCES, WABA, payloads

METAS = "419561257915477", "106540352242922", "+16505551234"
WHOSE = {"metas": METAS, "ours": (WABA, NUMBER, f"+{PERSON}")}
"""Account, number and person of the examples."""
KINDS = {
    "button_message": "button",
    "contact_sharing_message": "contacts",
    "image_message": "image",
    "interactive_button_reply_message": "interactive",
    "interactive_list_reply_message": "interactive",
    "location_message": "location",
    "order_message": "order",
    "reaction_message": "reaction",
    "system_message": "system",
    "text_message": "text",
    "text_message_from_click_to_whatsapp_ad": "text",
    "text_message_with_context_product_inquiry": "text",
    "unsupported_message": "unsupported",
    "button": "button",
    "button_reply": "interactive",
    "contacts": "contacts",
    "image": "image",
    "list_reply": "interactive",
    "location": "location",
    "order": "order",
    "reaction": "reaction",
    "system": "system",
    "text": "text",
    "text_about_a_product": "text",
    "text_from_an_ad": "text",
    "unsupported": "unsupported",
}
FIELDS = {
    "group_create_message": "group_lifecycle_update",
    "group_remove_participants": "group_participants_update",
    "group_settings_update": "group_settings_update",
    "group_created": "group_lifecycle_update",
    "group_left": "group_participants_update",
    "group_changed": "group_settings_update",
}
TEXTS = {
    "text_message": "Does it come in another color?",
    "button_message": "Unsubscribe",
    "interactive_button_reply_message": "Cancel",
    "interactive_list_reply_message": "Priority Mail Express",
    "reaction_message": "",
    "image_message": "",
    "text": "Is it blue?",
    "button": "Stop",
    "button_reply": "Cancel it",
    "list_reply": "Fast",
    "reaction": "",
    "image": "",
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def examples(source: str) -> dict[str, bytes]:
    found = payloads(source, "webhooks")
    assert len(found) == 16
    return {name: json.dumps(example).encode() for name, example in found.items()}


def value_of(raw: bytes) -> Any:
    return json.loads(raw)["entry"][0]["changes"][0]["value"]


def test_every_example_is_one_update(examples: dict[str, bytes]) -> None:
    found = {name: read(raw) for name, raw in examples.items()}
    assert Counter(type(update) for updates in found.values() for update in updates) == {Inbound: 13, Notice: 3}
    for name, (update,) in found.items():
        if isinstance(update, Inbound):
            assert update.kind == KINDS[name]
        else:
            assert isinstance(update, Notice)
            assert update.field == FIELDS[name]


def test_every_update_carries_all_of_its_example(examples: dict[str, bytes]) -> None:
    for name, raw in examples.items():
        (update,) = read(raw)
        value = value_of(raw)
        assert isinstance(update, Inbound | Notice)
        assert json.loads(update.raw) == (value["messages"][0] if name in KINDS else value), name


def inbound(raw: bytes, source: str, kind: str, text: str) -> list[Update]:
    """What is expected, with the ids of the example."""
    waba, number, person = WHOSE[source]
    message = value_of(raw)["messages"][0]
    compact = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return [Inbound(message["id"], person, number, waba, int(message["timestamp"]), kind, text, compact)]


def test_an_example_is_read_whole(examples: dict[str, bytes], source: str) -> None:
    names = [name for name in examples if name in TEXTS]
    assert len(names) == 6
    for name in names:
        assert read(examples[name]) == inbound(examples[name], source, KINDS[name], TEXTS[name]), name


@pytest.mark.fixtures
def test_a_text_message_of_metas_in_full() -> None:
    waba, number, person = METAS
    wamid = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA="
    raw = (
        f'{{"from":"16505551234","id":"{wamid}","timestamp":"1749416383","type":"text",'
        '"text":{"body":"Does it come in another color?"}}'
    )
    assert read(json.dumps(payloads("metas", "webhooks")["text_message"]).encode()) == [
        Inbound(
            wamid=wamid,
            sender=person,
            number=number,
            waba=waba,
            at_s=1749416383,
            kind="text",
            text="Does it come in another color?",
            raw=raw,
        )
    ]


def test_a_text_message_of_ours_in_full() -> None:
    raw = (
        '{"from":"15551234567","id":"wamid.text","timestamp":"1795377762","type":"text","text":{"body":"Is it blue?"}}'
    )
    assert read(json.dumps(payloads("ours", "webhooks")["text"]).encode()) == [
        Inbound(
            wamid="wamid.text",
            sender="+15551234567",
            number=NUMBER,
            waba=WABA,
            at_s=1795377762,
            kind="text",
            text="Is it blue?",
            raw=raw,
        )
    ]
