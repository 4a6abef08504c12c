"""Meta's own examples of webhooks, which nobody here wrote."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dispatcher.meta.webhook import Inbound, Notice, Update, read

WEBHOOKS = Path(__file__).parents[3] / "shared" / "fixtures" / "meta-openapi-v23.0" / "webhooks"
WABA, NUMBER, PERSON = "419561257915477", "106540352242922", "+16505551234"
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
}
FIELDS = {
    "group_create_message": "group_lifecycle_update",
    "group_remove_participants": "group_participants_update",
    "group_settings_update": "group_settings_update",
}

pytestmark = pytest.mark.fixtures


@pytest.fixture
def examples() -> dict[str, bytes]:
    if not WEBHOOKS.is_dir():
        pytest.skip(f"Meta's example payloads are not at {WEBHOOKS}")
    return {path.stem: path.read_bytes() for path in sorted(WEBHOOKS.glob("*.json"))}


def value_of(raw: bytes) -> Any:
    return json.loads(raw)["entry"][0]["changes"][0]["value"]


def test_every_example_is_one_update(examples: dict[str, bytes]) -> None:
    found = {name: read(raw) for name, raw in examples.items()}
    assert Counter(type(update) for updates in found.values() for update in updates) == {Inbound: 13, Notice: 3}
    assert {name: updates[0].kind for name, updates in found.items() if isinstance(updates[0], Inbound)} == KINDS
    assert {name: updates[0].field for name, updates in found.items() if isinstance(updates[0], Notice)} == FIELDS


def test_every_update_carries_all_of_its_example(examples: dict[str, bytes]) -> None:
    for name, raw in examples.items():
        (update,) = read(raw)
        value = value_of(raw)
        assert isinstance(update, Inbound | Notice)
        assert json.loads(update.raw) == (value["messages"][0] if name in KINDS else value), name


def inbound(raw: bytes, kind: str, text: str, *, waba: str = WABA) -> list[Update]:
    """What is expected, with the ids of the example."""
    message = value_of(raw)["messages"][0]
    compact = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return [Inbound(message["id"], PERSON, NUMBER, waba, int(message["timestamp"]), kind, text, compact)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("text_message", "Does it come in another color?"),
        ("button_message", "Unsubscribe"),
        ("interactive_button_reply_message", "Cancel"),
        ("interactive_list_reply_message", "Priority Mail Express"),
        ("reaction_message", ""),
        ("image_message", ""),
    ],
)
def test_an_example_is_read_whole(examples: dict[str, bytes], name: str, text: str) -> None:
    assert read(examples[name]) == inbound(examples[name], KINDS[name], text)


def test_a_text_message_in_full(examples: dict[str, bytes]) -> None:
    wamid = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA="
    raw = (
        f'{{"from":"16505551234","id":"{wamid}","timestamp":"1749416383","type":"text",'
        '"text":{"body":"Does it come in another color?"}}'
    )
    assert read(examples["text_message"]) == [
        Inbound(
            wamid=wamid,
            sender=PERSON,
            number=NUMBER,
            waba=WABA,
            at_s=1749416383,
            kind="text",
            text="Does it come in another color?",
            raw=raw,
        )
    ]
