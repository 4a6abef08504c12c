import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.simulator.send_request import SendRequest, read_send_request
from tests.simulator.wire import template_to, text_to


def read(body: dict[str, Any] | bytes, content_type: str = "application/json") -> SendRequest:
    return read_send_request("1", 0, content_type, body if isinstance(body, bytes) else json.dumps(body).encode())


def code_of(body: dict[str, Any] | bytes) -> int | None:
    problem = read(body).problem
    return None if problem is None else problem.code


def content(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    body = text_to(**more)
    del body["text"]
    return {**body, "type": kind, kind: value}


def without(name: str) -> dict[str, Any]:
    body = text_to()
    del body[name]
    return body


GOOD: dict[str, dict[str, Any] | bytes] = {
    "text": text_to(),
    "longest text": text_to(text={"body": "x" * 4096, "preview_url": True}),
    "no recipient type": without("recipient_type"),
    "no callback data": without("biz_opaque_callback_data"),
    "longest callback data": text_to(biz_opaque_callback_data="x" * 512),
    "user id": {**without("to"), "recipient": "US.13491208655302741918"},
    "parent user id": {**without("to"), "recipient": "US.ENT.11815799212886844830"},
    "group": text_to(to="Y2FwaV9ncm91cDox", recipient_type="group"),
    "reply": text_to(context={"message_id": "wamid.X"}),
    "template": template_to(),
    "image by id": content("image", {"id": "1", "caption": "x" * 1024}),
    "document by link": content("document", {"link": "https://example.com/a.pdf", "filename": "a.pdf"}),
    "audio": content("audio", {"id": "1", "voice": True}),
    "location with numbers": content("location", {"latitude": 37.4, "longitude": -122.1}),
    "location with strings": content("location", {"latitude": "37.4", "longitude": "-122.1"}),
    "reaction": content("reaction", {"message_id": "wamid.X", "emoji": "\U0001f44d"}),
    "reaction taken back": content("reaction", {"message_id": "wamid.X", "emoji": ""}),
    "contacts": content("contacts", [{"name": {"formatted_name": "Ann"}}]),
    "buttons": content(
        "interactive",
        {"type": "button", "body": {"text": "?"}, "action": {"buttons": [{"type": "reply", "reply": {"id": "1"}}]}},
    ),
    "list": content(
        "interactive",
        {"type": "list", "action": {"button": "Pick", "sections": [{"rows": [{"id": "1", "title": "One"}]}]}},
    ),
    "a kind nobody knows yet": content("hologram", {"anything": ["goes", None]}),
}

MALFORMED: dict[str, tuple[int, dict[str, Any] | bytes]] = {
    "empty": (100, b""),
    "no JSON": (100, b"{"),
    "trailing text": (100, json.dumps(text_to()).encode() + b"}"),
    "an array": (100, b"[]"),
    "not UTF-8": (100, json.dumps(text_to()).encode().replace(b"Hello", b"\xff")),
    "not a number": (100, json.dumps(text_to()).encode().replace(b'"Hello"', b"NaN")),
    "lone surrogate": (100, json.dumps(text_to(text={"body": "\ud800"})).encode()),
    "too deep": (100, b"[" * 200_000),
    "name twice": (100, json.dumps(text_to()).encode()[:-1] + b', "biz_opaque_callback_data": "d1:1:order-1"}'),
    "name twice below": (100, json.dumps(text_to()).encode().replace(b'{"body"', b'{"body": "x", "body"')),
    "other product": (100, text_to(messaging_product="messenger")),
    "no product": (100, without("messaging_product")),
    "a field of ours": (100, text_to(priority="urgent")),
    "content of another kind": (100, text_to(image={"id": "1"})),
    "no type": (131008, without("type")),
    "type that is no string": (131009, text_to(type=["text"])),
    "no content": (131008, without("text")),
    "content that is no object": (131009, text_to(text="Hello")),
    "no recipient": (131008, without("to")),
    "both recipients": (131009, text_to(recipient="US.1")),
    "digits without plus": (131009, text_to(to="15551234567")),
    "spaces": (131009, text_to(to="+1 555 1234567")),
    "leading zero": (131009, text_to(to="+0555123456")),
    "too long": (131009, text_to(to="+1234567890123456")),
    "line end after the digits": (131009, text_to(to="+15551234567\n")),
    "phone that is a number": (131009, {**text_to(), "to": 15551234567}),
    "broken user id": (131009, {**without("to"), "recipient": "us.1"}),
    "recipient type": (131009, text_to(recipient_type={"a": "person"})),
    "callback data too long": (131009, text_to(biz_opaque_callback_data="x" * 513)),
    "callback data that is no string": (131009, text_to(biz_opaque_callback_data=1)),
    "empty text": (131008, text_to(text={"body": ""})),
    "text too long": (131009, text_to(text={"body": "x" * 4097})),
    "preview": (131009, text_to(text={"body": "x", "preview_url": "yes"})),
    "empty context": (131008, text_to(context={})),
    "template without name": (131008, template_to(name="")),
    "template without language": (131008, {**template_to(), "template": {"name": "shipped"}}),
    "template with bare language": (131009, {**template_to(), "template": {"name": "shipped", "language": "en_US"}}),
    "template component": (
        131009,
        content("template", {"name": "a", "language": {"code": "en"}, "components": [{"type": "x"}]}),
    ),
    "template components": (131009, content("template", {"name": "a", "language": {"code": "en"}, "components": {}})),
    "template button": (
        131008,
        content("template", {"name": "a", "language": {"code": "en"}, "components": [{"type": "button", "index": 0}]}),
    ),
    "media by id and link": (131009, content("image", {"id": "1", "link": "https://example.com"})),
    "media by neither": (131009, content("image", {})),
    "media by file": (131009, content("image", {"link": "file:///etc/passwd"})),
    "caption too long": (131009, content("image", {"id": "1", "caption": "x" * 1025})),
    "audio with caption": (131009, content("audio", {"id": "1", "caption": "x"})),
    "image with filename": (131009, content("image", {"id": "1", "filename": "x"})),
    "no longitude": (131008, content("location", {"latitude": 1})),
    "far north": (131009, content("location", {"latitude": 91, "longitude": 0})),
    "very far north": (131009, content("location", {"latitude": 10**400, "longitude": 0})),
    "nowhere": (131009, content("location", {"latitude": "nan", "longitude": 0})),
    "reply by reaction": (131009, content("reaction", {"message_id": "w", "emoji": ""}, context={"message_id": "w"})),
    "no contacts": (131008, content("contacts", [])),
    "too many contacts": (131009, content("contacts", [{"name": {"formatted_name": "A"}}] * 258)),
    "nameless contact": (131008, content("contacts", [{}])),
    "four buttons": (131009, content("interactive", {"type": "button", "action": {"buttons": [{}] * 4}})),
    "no rows": (131009, content("interactive", {"type": "list", "action": {"button": "x", "sections": []}})),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_body_is_taken(name: str) -> None:
    assert read(GOOD[name]).problem is None


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_body_is_refused_with_metas_code(name: str) -> None:
    code, body = MALFORMED[name]
    assert code_of(body) == code


def test_another_content_type_is_refused() -> None:
    body = json.dumps(text_to()).encode()
    assert read(body, "application/json; charset=utf-8").problem is None
    problem = read(body, "text/plain").problem
    assert problem is not None
    assert problem.code == 100


def test_a_malformed_body_is_still_filed_under_its_key() -> None:
    post = read(text_to(to="bare", key="a:b", claim=7))
    assert (post.key, post.claim, post.to) == ("a:b", 7, "bare")


@pytest.mark.parametrize(
    ("data", "filed"),
    [("d1:3:a:b", ("a:b", 3)), ("anything", ("anything", -1)), ("d1:x:y", ("d1:x:y", -1)), ("d2:1:y", ("d2:1:y", -1))],
)
def test_callback_data_is_filed_by_key_and_claim(data: str, filed: tuple[str, int]) -> None:
    post = read(text_to(biz_opaque_callback_data=data))
    assert (post.key, post.claim) == filed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KINDS = ["text", "image", "location", "template", "contacts", "interactive", "reaction", "context", "type", "to"]


@given(st.dictionaries(st.sampled_from(KINDS), json_values, max_size=4), st.sampled_from(KINDS))
def test_no_body_is_beyond_reading(fields: dict[str, Any], kind: str) -> None:
    read({**text_to(), "type": kind, **fields})


@given(st.binary(max_size=200))
def test_no_bytes_are_beyond_reading(body: bytes) -> None:
    assert read(body).problem is not None
