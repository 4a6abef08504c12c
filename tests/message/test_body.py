import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.message.message import Message, body, fingerprint, label, template_label

TEXT = {"type": "text", "text": {"body": "Hello"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


def message(content: Any = TEXT, to: str = "+15551234567", **others: Any) -> Message:
    return Message.parse({"number": "otp-us", "to": to, "content": content, **others})


def test_a_body_is_the_request_without_its_last_brace() -> None:
    content = {"context": {"message_id": "wamid.1"}, "text": {"preview_url": False, "body": 'Grüße "5" €'}}
    assert body(message(content)).decode() == (
        '{"messaging_product":"whatsapp","recipient_type":"individual","to":"+15551234567","type":"text",'
        '"text":{"preview_url":false,"body":"Grüße \\"5\\" €"},"context":{"message_id":"wamid.1"}'
    )


def test_a_user_id_is_posted_as_recipient() -> None:
    assert body(message(to="US.13491208655302741918")) == (
        b'{"messaging_product":"whatsapp","recipient_type":"individual","recipient":"US.13491208655302741918",'
        b'"type":"text","text":{"body":"Hello"}'
    )


@given(OBJECTS, JSON)
def test_a_body_with_callback_data_appended_is_the_whole_request(thing: dict[str, Any], context: Any) -> None:
    content = {"type": "hologram", "hologram": thing, "context": context}
    request = body(message(content)) + b',"biz_opaque_callback_data":"d1:1:order-4411"}'
    assert json.loads(request) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+15551234567",
        "biz_opaque_callback_data": "d1:1:order-4411",
        **content,
    }


# Fingerprints


def test_a_fingerprint_never_changes_between_versions() -> None:
    assert fingerprint(message()) == "mS7MolV22r2xQSqW"
    image = {"link": "https://example.com/a.png", "caption": "Grüße €", "n": [1, 2.5, None, True]}
    assert fingerprint(message({"image": image})) == "srO1ojhGbs-b4RRt"


@pytest.mark.parametrize(
    "same",
    [
        message(to="1 555 123 4567"),
        message({"text": {"body": "Hello"}}),
        message({"messaging_product": "whatsapp", "recipient_type": "individual"} | TEXT),
        message({"text": {"body": "Hello"}, "type": "text"}),
        message(key="another", priority="urgent", ttl_s=5, campaign="autumn", callback_data="x"),
    ],
)
def test_a_fingerprint_sees_recipient_and_content_alone(same: Message) -> None:
    assert fingerprint(same) == fingerprint(message())


@pytest.mark.parametrize(
    "other",
    [
        message(to="+15551234568"),
        message({"text": {"body": "hello"}}),
        message({"text": {"body": "Hello", "preview_url": False}}),
        message(TEXT | {"context": {"message_id": "wamid.1"}}),
    ],
)
def test_a_fingerprint_tells_other_content_and_other_recipients(other: Message) -> None:
    assert fingerprint(other) != fingerprint(message())


@given(OBJECTS)
def test_the_order_of_fields_is_nothing_to_a_fingerprint(thing: dict[str, Any]) -> None:
    turned = dict(reversed(thing.items()))
    mine = fingerprint(message({"type": "hologram", "hologram": thing}))
    assert mine == fingerprint(message({"hologram": turned, "type": "hologram"}))
    assert len(mine) == 16
    assert set(mine) <= set(string.ascii_letters + string.digits + "-_")


# Labels


def test_a_short_text_is_its_own_label() -> None:
    assert label("é" * 32) == "é" * 32


def test_a_long_text_keeps_its_beginning_and_a_hash() -> None:
    assert label("shipped_" * 9) == "shipped_shipped_shipped_shipped_shipped_shi~335ae1187481f4249691"
    assert label("é" * 33) == "ééééééééééééééééééééé~4bc97569618f3273d728"


@given(st.text(), st.text(min_size=20))
def test_a_label_has_at_most_64_bytes_and_tells_texts_apart(one: str, more: str) -> None:
    long, longer = one + more * 4, one + more * 5
    assert len(label(long).encode()) <= 64
    assert label(long) != label(longer)


def test_only_a_template_has_a_template_label() -> None:
    named = {"template": {"name": "shipped", "language": {"code": "en_US"}}}
    assert template_label(message(named).content) == "shipped"
    named["template"]["name"] = "x" * 512
    assert template_label(message(named).content) == label("x" * 512)
    assert template_label(message().content) is None
