"""Example payloads in the shapes that Meta documents: ours, which are always there, and Meta's own, where they are.

Meta's lie beside the checkout, or where WHATSAPP_FIXTURES points. Tests that take both run once with each; ours are
written by hand, with values where Meta's have placeholders, and cover the same kinds.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

Payloads = dict[str, Any]

SOURCES = ("ours", pytest.param("metas", marks=pytest.mark.fixtures))
"""Parameters of fixtures; `payloads` takes the name."""
_METAS = "meta-openapi-v23.0"
_REPLIED = "wamid.HBgLMTU1NTEyMzQ1NjcVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"


def payloads(source: str, kind: str) -> Payloads:
    """Return payloads by name; `kind` is `send_requests`, `webhooks` or `errors`.

    Meta's test is left out where Meta's payloads are not; `tests/conftest.py` reports that.
    """
    if source == "ours":
        given: Payloads = json.loads(json.dumps(OURS[kind]))
        return given
    beside = Path(__file__).resolve().parents[2] / "shared" / "fixtures"
    folder = Path(os.environ.get("WHATSAPP_FIXTURES", beside)) / _METAS / kind
    if not folder.is_dir():
        pytest.skip(f"Meta's example payloads are not at {folder}: set WHATSAPP_FIXTURES")
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


# what is sent


def _send(kind: str, content: Any, **more: Any) -> Payloads:
    envelope = {"messaging_product": "whatsapp", "recipient_type": "individual", "to": "+15551234567"}
    return {**envelope, "type": kind, kind: content, **more}


def _interactive(kind: str, action: Payloads, **more: Any) -> Payloads:
    return _send("interactive", {"type": kind, "body": {"text": "What would you like?"}, "action": action, **more})


def _template(name: str, *components: Payloads, **language: str) -> Payloads:
    content: Payloads = {"name": name, "language": {"code": "en_US", **language}}
    return _send("template", content | ({"components": list(components)} if components else {}))


def _button(sub_type: str, index: str | int, *parameters: Payloads) -> Payloads:
    return {"type": "button", "sub_type": sub_type, "index": index, "parameters": list(parameters)}


def _flow(**parameters: Any) -> Payloads:
    given = {
        "flow_message_version": "3", "flow_token": "t-1", "flow_cta": "Book", "flow_action": "navigate",
        "flow_action_payload": {"screen": "DATES", "data": {"from": "2026-12-01"}},
    }  # fmt: skip
    action = {"name": "flow", "parameters": given | parameters}
    return _interactive("flow", action, header={"type": "text", "text": "Booking"}, footer={"text": "Free of charge"})


_MEDIA: dict[str, Payloads] = {
    "audio": {},
    "document": {"caption": "Your invoice", "filename": "invoice.pdf"},
    "image": {"caption": "Your parcel"},
    "sticker": {},
    "video": {"caption": "How to open it"},
}
_CONTACTS = [
    {
        "name": {"formatted_name": "Ada Example", "first_name": "Ada", "last_name": "Example"},
        "addresses": [{"street": "1 Main Street", "city": "Springfield", "country": "United States", "type": "HOME"}],
        "birthday": "1990-01-31",
        "emails": [{"email": "ada@example.com", "type": "WORK"}],
        "org": {"company": "Example", "department": "Sales", "title": "Manager"},
        "phones": [{"phone": "+15551234567", "type": "WORK", "wa_id": "15551234567"}],
        "urls": [{"url": "https://example.com", "type": "WORK"}],
    }
]
_LOCATION = {"latitude": 52.5, "longitude": "13.4", "name": "Shop", "address": "1 Main Street"}
_VALUES = [
    {"type": "text", "text": "Ada"},
    {"type": "currency", "currency": {"fallback_value": "$10.50", "code": "USD", "amount_1000": 10500}},
    {"type": "date_time", "date_time": {"fallback_value": "1 December 2026", "year": 2026, "month": 12}},
]
_LIST = {
    "button": "Show",
    "sections": [
        {"title": "By post", "rows": [{"id": "slow", "title": "Slow", "description": "A week"}]},
        {"title": "By bike", "rows": [{"id": "fast", "title": "Fast", "description": "A day"}]},
    ],
}
_IMAGE = {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.com/a.png"}}]}
_ORDER = {
    "status": "pending",
    "items": [{"retailer_id": "1", "name": "bread", "amount": {"value": 1500, "offset": 100}, "quantity": 1}],
    "subtotal": {"value": 1500, "offset": 100},
    "tax": {"value": 100, "offset": 100, "description": "VAT"},
}
_PAYMENT = {
    "reference_id": "order-1", "type": "digital-goods", "payment_type": "upi", "payment_configuration": "shop",
    "currency": "INR", "total_amount": {"value": 1600, "offset": 100}, "order": _ORDER,
}  # fmt: skip

SENDS: Payloads = {
    "text": _send("text", {"body": "Hello", "preview_url": False}),
    "text_without_a_type": {
        "messaging_product": "whatsapp", "to": "+15551234567",
        "text": {"body": "Look at https://example.com", "preview_url": True},
    },
    "reply_to_text": _send("text", {"body": "Yes"}, context={"message_id": _REPLIED}),
    **{f"{kind}_by_id": _send(kind, {"id": "1234567890", **more}) for kind, more in _MEDIA.items()},
    **{f"{kind}_by_link": _send(kind, {"link": "https://example.com/a", **more}) for kind, more in _MEDIA.items()},
    **{
        f"reply_to_{kind}": _send(kind, {"id": "1234567890", **more}, context={"message_id": _REPLIED})
        for kind, more in _MEDIA.items()
    },
    "contacts": _send("contacts", _CONTACTS),
    "reply_to_contacts": _send("contacts", _CONTACTS, context={"message_id": _REPLIED}),
    "location": _send("location", _LOCATION),
    "reply_to_location": _send("location", _LOCATION, context={"message_id": _REPLIED}),
    "reaction": _send("reaction", {"message_id": _REPLIED, "emoji": "😀"}),
    "list": _interactive("list", _LIST, header={"type": "text", "text": "Delivery"}, footer={"text": "Free"}),
    "reply_to_list": _interactive("list", _LIST) | {"context": {"message_id": _REPLIED}},
    "buttons": _interactive(
        "button", {"buttons": [{"type": "reply", "reply": {"id": f"b{n}", "title": f"Choice {n}"}} for n in range(3)]}
    ),
    "product": _interactive("product", {"catalog_id": "1", "product_retailer_id": "sku-1"}),
    "product_list": _interactive(
        "product_list",
        {"catalog_id": "1", "sections": [{"title": "New", "product_items": [{"product_retailer_id": "sku-1"}]}]},
        header={"type": "text", "text": "Catalog"},
    ),
    "catalog": _interactive(
        "catalog_message", {"name": "catalog_message", "parameters": {"thumbnail_product_retailer_id": "sku-1"}}
    ),
    "flow_by_id": _flow(flow_id="1234567890"),
    "flow_by_name": _flow(flow_name="booking"),
    "draft_flow_by_id": _flow(flow_id="1234567890", mode="draft"),
    "order_details": _interactive("order_details", {"name": "review_and_pay", "parameters": _PAYMENT}),
    "order_status": _interactive(
        "order_status",
        {"name": "review_order", "parameters": {"reference_id": "order-1", "order": {"status": "processing"}}},
    ),
    "template": _template("hello_world"),
    "template_of_text": _template("shipped", {"type": "body", "parameters": _VALUES}, policy="deterministic"),
    "template_of_media": _template("shipped", _IMAGE, {"type": "body", "parameters": _VALUES}),
    "template_with_buttons": _template(
        "shipped",
        {"type": "body", "parameters": _VALUES},
        _button("quick_reply", 0, {"type": "payload", "payload": "yes"}),
        _button("url", "1", {"type": "text", "text": "order-1"}),
    ),
    "template_with_a_catalog": _template(
        "offer", _button("CATALOG", 0, {"type": "action", "action": {"thumbnail_product_retailer_id": "sku-1"}})
    ),
    "template_with_a_flow": _template(
        "booking",
        _button("flow", "0", {"type": "action", "action": {"flow_token": "t-1", "flow_action_data": {"a": "b"}}}),
    ),
    "read_and_typing": {
        "messaging_product": "whatsapp", "status": "read", "message_id": _REPLIED, "typing_indicator": {"type": "text"},
    },
}  # fmt: skip


# what comes in

WABA, NUMBER, PERSON = "102290129340398", "106540352242922", "15551234567"
_METADATA = {"display_phone_number": "15550783881", "phone_number_id": NUMBER}
_CONTEXT = {"context": {"from": "15550783881", "id": _REPLIED}}


def _webhook(field: str, **value: Any) -> Payloads:
    whole = {"messaging_product": "whatsapp", "metadata": _METADATA, **value}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": WABA, "changes": [{"field": field, "value": whole}]}],
    }


def _inbound(kind: str, content: Any = None, **more: Any) -> Payloads:
    message = {"from": PERSON, "id": f"wamid.{kind}", "timestamp": "1795377762", "type": kind}
    contacts = [{"profile": {"name": "Ada Example"}, "wa_id": PERSON}]
    return _webhook("messages", contacts=contacts, messages=[message | ({kind: content} if content else {}) | more])


def _group(field: str, **more: Any) -> Payloads:
    return _webhook(field, groups=[{"timestamp": "1795377762", "group_id": "g-1", "request_id": "r-1", **more}])


WEBHOOKS: Payloads = {
    "text": _inbound("text", {"body": "Is it blue?"}),
    "text_about_a_product": _inbound(
        "text", {"body": "Is it there?"},
        context={"from": "15550783881", "referred_product": {"catalog_id": "1", "product_retailer_id": "sku-1"}},
    ),
    "text_from_an_ad": _inbound(
        "text", {"body": "Hello"}, referral={"source_url": "https://example.com", "source_type": "ad", "ctwa_clid": "c"}
    ),
    "button": _inbound("button", {"payload": "stop", "text": "Stop"}, **_CONTEXT),
    "button_reply": _inbound(
        "interactive", {"type": "button_reply", "button_reply": {"id": "b1", "title": "Cancel it"}}, **_CONTEXT
    ),
    "list_reply": _inbound(
        "interactive", {"type": "list_reply", "list_reply": {"id": "fast", "title": "Fast", "description": "A day"}}
    ),
    "reaction": _inbound("reaction", {"message_id": _REPLIED, "emoji": "👍"}),
    "image": _inbound("image", {"caption": "Blue", "mime_type": "image/jpeg", "sha256": "x=", "id": "1"}),
    "contacts": _inbound("contacts", _CONTACTS),
    "location": _inbound("location", {**_LOCATION, "url": "https://example.com"}),
    "order": _inbound(
        "order", {"catalog_id": "1", "text": "", "product_items": [{"product_retailer_id": "sku-1", "quantity": 2}]}
    ),
    "system": _inbound(
        "system", {"body": "changed", "wa_id": "15557654321", "type": "user_changed_number"}
    ),
    "unsupported": _inbound("unsupported", errors=[{"code": 131051, "title": "Message type unknown"}]),
    "group_created": _group("group_lifecycle_update", type="group_create", subject="Friends"),
    "group_left": _group("group_participants_update", type="group_leave", removed_participants=[{"wa_id": 15551234567}]),
    "group_changed": _group("group_settings_update", type="group_settings_update"),
}  # fmt: skip
"""Of the last three, whose field is not `messages`, each is a notice."""


# what is answered


def _error(http_status: int, code: int, **more: Any) -> Payloads:
    error = {"message": f"(#{code}) no", "type": "OAuthException", "code": code, "fbtrace_id": "A1", **more}
    return {"http_status": http_status, "body": {"error": error}}


_SAID = {"error_user_title": "No", "error_user_msg": "It does not work"}
ERRORS: list[Payloads] = [
    _error(400, 100, error_subcode=2207051),
    _error(400, 100, error_data={"messaging_product": "whatsapp", "details": "text is required"}),
    _error(403, 100, **_SAID), _error(404, 100), _error(409, 100), _error(422, 100, error_subcode=33, **_SAID),
    _error(400, 400), _error(401, 104), _error(401, 190, error_subcode=463), _error(403, 10), _error(403, 200),
    _error(403, 403), _error(404, 803), _error(422, 803), _error(422, 613), _error(429, 4, is_transient=True),
    _error(429, 17), _error(429, 80007), _error(500, 1, is_transient=True), _error(500, 2, **_SAID, is_transient=True),
    {"http_status": 401, "body": {"error": {"message": "no", "type": "OAuthException", "code": 190}}},
]  # fmt: skip

OURS: dict[str, Any] = {"send_requests": SENDS, "webhooks": WEBHOOKS, "errors": {"error_examples": ERRORS}}
