"""The outer shape of a body: JSON without doubt, the product, the recipient, and no field that Meta does not know."""

import json
import re
from typing import NoReturn

from dispatcher.simulator.kinds import check_kind
from dispatcher.simulator.malformed import INVALID, Malformed, bad, is_object, optional_text, required_object
from dispatcher.simulator.malformed import required_text as text

# Stricter than Meta, who also takes bare digits and then guesses a country code before them.
PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[0-9A-Za-z]{1,128}")
LONGEST_CALLBACK_DATA = 512

ENVELOPE = frozenset({
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "recipient_identity_key_hash",
    "category",
    "ttl_seconds",
    "direct_send_config",
})  # fmt: skip


def parse(body: bytes) -> object:
    """Read a body as JSON, more strictly than most: no duplicate names, no NaN, no lone surrogates, UTF-8 only.

    Raises:
        Malformed: It is not what it must be.
    """
    try:
        document: object = json.loads(body.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise Malformed(INVALID, f"The body is not valid JSON: {exc}"[:200]) from exc
    return document


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(INVALID, f"Duplicate key {twice!r}")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(INVALID, f"{name} is no JSON value")


def check(document: object) -> None:
    """Check a whole body.

    Raises:
        Malformed: Meta would refuse it, or might.
    """
    if not is_object(document):
        raise Malformed(INVALID, "The body is not a JSON object")
    if document.get("messaging_product") != "whatsapp":
        raise Malformed(INVALID, "The parameter messaging_product is required and must be whatsapp")
    kind = text(document, "type", "type")
    unexpected = document.keys() - ENVELOPE - {kind}
    if unexpected:
        raise Malformed(INVALID, f"Unexpected key {min(unexpected)!r}")
    _check_recipient(document)
    _check_callback_data(document)
    _check_context(document)
    optional_text(document, "recipient_identity_key_hash", "recipient_identity_key_hash")
    check_kind(kind, document)


def _check_recipient(document: dict[str, object]) -> None:
    kind = document.get("recipient_type", "individual")
    if kind not in ("individual", "group"):
        raise bad("recipient_type", "individual or group")
    if "to" in document and "recipient" in document:
        raise bad("recipient", "either to or recipient")
    if "recipient" in document:
        if not USER_ID.fullmatch(text(document, "recipient", "recipient")):
            raise bad("recipient", "a business-scoped user id")
        return
    if not PHONE.fullmatch(text(document, "to", "to")) and kind == "individual":
        raise bad("to", "a phone number with + and country code")


def _check_callback_data(document: dict[str, object]) -> None:
    data = document.get("biz_opaque_callback_data", "")
    if not isinstance(data, str) or len(data) > LONGEST_CALLBACK_DATA:
        raise bad("biz_opaque_callback_data", f"a string of at most {LONGEST_CALLBACK_DATA} characters")


def _check_context(document: dict[str, object]) -> None:
    if "context" not in document:
        return
    if "reaction" in document:
        raise bad("context", "a reaction is no reply")
    text(required_object(document, "context", "context"), "message_id", "context.message_id")
