"""A POST to the messages endpoint: reads its body, and says whether Meta would accept it.

As strict as Meta, or stricter. It checks that the body is JSON without doubt, the outer fields, and the shape of each
kind of message that Meta documents; of other kinds only that the same-named object is there.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeGuard

# How the callback data of the judged worker is made: its format, the claim's number, the key.
CALLBACK_DATA = re.compile(r"d1:([0-9]{1,9}):(.+)", re.DOTALL)
NO_CLAIM = -1

INVALID = 100
MISSING_PARAMETER = 131008
BAD_VALUE = 131009

# Stricter than Meta, who also takes bare digits and then guesses a country code before them.
PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[0-9A-Za-z]{1,128}")
LONGEST_CALLBACK_DATA = 512
LONGEST_BODY = 4096
LONGEST_CAPTION = 1024
LONGEST_TEMPLATE_NAME = 512
MOST_CONTACTS = 257
HAS_CAPTION = frozenset({"image", "video", "document"})
COMPONENTS = frozenset({"header", "body", "button", "carousel", "limited_time_offer", "tap_target_configuration"})

OUTER_FIELDS = frozenset({
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


class Malformed(Exception):  # noqa: N818 - it is the request that is malformed, the simulator makes no error
    """A body that Meta would refuse, with Graph's code for it."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


@dataclass(slots=True)
class SendRequest:
    """A POST that has been read. What the body does not say is empty; `problem` is why Meta would refuse the body."""

    number: str
    arrived_ns: int
    to: str = ""
    is_user_id: bool = False
    kind: str = ""
    template: str = ""
    callback_data: str = ""
    key: str = ""
    claim: int = NO_CLAIM
    problem: Malformed | None = None
    body: bytes = b""


def read_send_request(number: str, arrived_ns: int, content_type: str, body: bytes) -> SendRequest:
    """Read a body as far as it can be read; never raises."""
    post = SendRequest(number, arrived_ns, body=body)
    try:
        document = _parse_json(body)
        _fill(post, document)
        if content_type.partition(";")[0].strip().lower() != "application/json":
            post.problem = Malformed(INVALID, "The Content-Type is not application/json")
            return post
        _check_message(document)
    except Malformed as problem:
        post.problem = problem
    return post


def _fill(post: SendRequest, document: object) -> None:
    if not _is_object(document):
        return
    post.is_user_id = "recipient" in document
    to = document.get("recipient" if post.is_user_id else "to")
    post.to = to if isinstance(to, str) else ""
    kind = document.get("type")
    post.kind = kind if isinstance(kind, str) else ""
    data = document.get("biz_opaque_callback_data")
    if isinstance(data, str):
        post.callback_data = data
        post.key, post.claim = _key_and_claim(data)
    template = document.get("template")
    name = template.get("name") if _is_object(template) else None
    post.template = name if isinstance(name, str) else ""


def _key_and_claim(callback_data: str) -> tuple[str, int]:
    """The key and claim that callback data carry; what has another format is its own key, without a claim."""
    found = CALLBACK_DATA.fullmatch(callback_data)
    return (found[2], int(found[1])) if found else (callback_data, NO_CLAIM)


def _parse_json(body: bytes) -> object:
    """Read a body as JSON, more strictly than most: no duplicate names, no NaN, no lone surrogates, UTF-8 only.

    Raises:
        Malformed: It is not what it must be.
    """
    try:
        document: object = json.loads(
            body.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise Malformed(INVALID, f"The body is not valid JSON: {exc}"[:200]) from exc
    return document


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(INVALID, f"Duplicate key {twice!r}")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(INVALID, f"{name} is no JSON value")


def _check_message(document: object) -> None:
    """Check a whole body.

    Raises:
        Malformed: Meta would refuse it, or might.
    """
    if not _is_object(document):
        raise Malformed(INVALID, "The body is not a JSON object")
    if document.get("messaging_product") != "whatsapp":
        raise Malformed(INVALID, "The parameter messaging_product is required and must be whatsapp")
    kind = _required_text(document, "type", "type")
    unexpected = document.keys() - OUTER_FIELDS - {kind}
    if unexpected:
        raise Malformed(INVALID, f"Unexpected key {min(unexpected)!r}")
    _check_recipient(document)
    _check_callback_data(document)
    _check_context(document)
    _optional_text(document, "recipient_identity_key_hash", "recipient_identity_key_hash")
    _check_kind(kind, document)


def _check_recipient(document: dict[str, object]) -> None:
    kind = document.get("recipient_type", "individual")
    if kind not in ("individual", "group"):
        raise _invalid("recipient_type", "individual or group")
    if "to" in document and "recipient" in document:
        raise _invalid("recipient", "either to or recipient")
    if "recipient" in document:
        if not USER_ID.fullmatch(_required_text(document, "recipient", "recipient")):
            raise _invalid("recipient", "a business-scoped user id")
        return
    if not PHONE.fullmatch(_required_text(document, "to", "to")) and kind == "individual":
        raise _invalid("to", "a phone number with + and country code")


def _check_callback_data(document: dict[str, object]) -> None:
    data = document.get("biz_opaque_callback_data", "")
    if not isinstance(data, str) or len(data) > LONGEST_CALLBACK_DATA:
        raise _invalid("biz_opaque_callback_data", f"a string of at most {LONGEST_CALLBACK_DATA} characters")


def _check_context(document: dict[str, object]) -> None:
    if "context" not in document:
        return
    if "reaction" in document:
        raise _invalid("context", "a reaction is no reply")
    _required_text(_required_object(document, "context", "context"), "message_id", "context.message_id")


# The shape of each kind.


def _check_kind(kind: str, document: dict[str, object]) -> None:
    if kind == "contacts":
        _check_contacts(document)
        return
    content = _required_object(document, kind, kind)
    check = _CHECKS.get(kind)
    if check is not None:
        check(kind, content)


def _check_text(kind: str, content: dict[str, object]) -> None:
    _required_text(content, "body", f"{kind}.body", LONGEST_BODY)
    if not isinstance(content.get("preview_url", False), bool):
        raise _invalid("text.preview_url", "true or false")


def _check_media(kind: str, content: dict[str, object]) -> None:
    if ("id" in content) == ("link" in content):
        raise _invalid(kind, "exactly one of id and link")
    if "id" in content:
        _required_text(content, "id", f"{kind}.id")
    elif not _required_text(content, "link", f"{kind}.link").startswith(("https://", "http://")):
        raise _invalid(f"{kind}.link", "an http or https URL")
    if "caption" in content and kind not in HAS_CAPTION:
        raise _invalid(f"{kind}.caption", f"{kind} has no caption")
    _optional_text(content, "caption", f"{kind}.caption", LONGEST_CAPTION)
    if "filename" in content and kind != "document":
        raise _invalid(f"{kind}.filename", f"{kind} has no filename")
    _optional_text(content, "filename", f"{kind}.filename")


def _check_location(_kind: str, content: dict[str, object]) -> None:
    _check_degrees(content, "latitude", 90)
    _check_degrees(content, "longitude", 180)


def _check_degrees(content: dict[str, object], name: str, most: int) -> None:
    # Meta's schema says string, Meta's own example sends numbers.
    value = _required(content, name, f"location.{name}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _invalid(f"location.{name}", "a number")
    try:
        is_within = -most <= float(value) <= most
    except (ValueError, OverflowError):
        is_within = False
    if not is_within:
        raise _invalid(f"location.{name}", f"between -{most} and {most}")


def _check_reaction(_kind: str, content: dict[str, object]) -> None:
    _required_text(content, "message_id", "reaction.message_id")
    # An empty emoji takes the reaction back.
    if not isinstance(_required(content, "emoji", "reaction.emoji"), str):
        raise _invalid("reaction.emoji", "a string")


def _check_contacts(document: dict[str, object]) -> None:
    if not _required(document, "contacts", "contacts"):
        raise _missing("contacts")
    for contact in _objects(document, "contacts", "contacts", MOST_CONTACTS):
        _required_text(
            _required_object(contact, "name", "contacts.name"), "formatted_name", "contacts.name.formatted_name"
        )


def _check_template(_kind: str, content: dict[str, object]) -> None:
    _required_text(content, "name", "template.name", LONGEST_TEMPLATE_NAME)
    language = _required_object(content, "language", "template.language")
    _required_text(language, "code", "template.language.code")
    if language.get("policy", "deterministic") != "deterministic":
        raise _invalid("template.language.policy", "deterministic")
    for component in _objects(content, "components", "template.components"):
        kind = _required_text(component, "type", "template.components.type")
        if kind.lower() not in COMPONENTS:
            raise _invalid("template.components.type", f"one of {', '.join(sorted(COMPONENTS))}")
        if kind.lower() == "button":
            _check_template_button(component)
        for parameter in _objects(component, "parameters", "template.components.parameters"):
            _required_text(parameter, "type", "template.components.parameters.type")


def _check_template_button(component: dict[str, object]) -> None:
    _required_text(component, "sub_type", "template.components.sub_type")
    # A string in some of Meta's examples, a number in others.
    index = _required(component, "index", "template.components.index")
    if str(index) not in {str(place) for place in range(10)}:
        raise _invalid("template.components.index", "0 to 9")


def _check_interactive(_kind: str, content: dict[str, object]) -> None:
    kind = _required_text(content, "type", "interactive.type")
    if "body" in content:
        _required_text(
            _required_object(content, "body", "interactive.body"), "text", "interactive.body.text", LONGEST_BODY
        )
    action = _required_object(content, "action", "interactive.action")
    if kind == "button" and not 1 <= len(_objects(action, "buttons", "interactive.action.buttons")) <= 3:
        raise _invalid("interactive.action.buttons", "one to three buttons")
    if kind == "list":
        _required_text(action, "button", "interactive.action.button", 20)
        _check_list(action)


def _check_list(action: dict[str, object]) -> None:
    sections = _objects(action, "sections", "interactive.action.sections", 10)
    rows = [row for section in sections for row in _objects(section, "rows", "interactive.action.sections.rows") if row]
    if not 1 <= len(rows) <= 10:
        raise _invalid("interactive.action.sections", "one to ten rows")


_CHECKS: dict[str, Callable[[str, dict[str, object]], None]] = {
    "text": _check_text,
    "image": _check_media,
    "video": _check_media,
    "audio": _check_media,
    "document": _check_media,
    "sticker": _check_media,
    "location": _check_location,
    "reaction": _check_reaction,
    "template": _check_template,
    "interactive": _check_interactive,
}


# What all of them are made of.


def _missing(name: str) -> Malformed:
    """A required parameter is not there."""
    return Malformed(MISSING_PARAMETER, f"Required parameter {name} is missing")


def _invalid(name: str, wanted: str) -> Malformed:
    """A parameter is there, but not what it must be."""
    return Malformed(BAD_VALUE, f"Parameter {name} is not valid: {wanted}")


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def _required(parent: dict[str, object], name: str, path: str) -> object:
    """The value of `name`, which must be there and not null; `path` names it in the refusal."""
    value = parent.get(name)
    if value is None:
        raise _missing(path)
    return value


def _required_object(parent: dict[str, object], name: str, path: str) -> dict[str, object]:
    """The JSON object called `name`, which must be there."""
    value = _required(parent, name, path)
    if not _is_object(value):
        raise _invalid(path, "an object")
    return value


def _required_text(parent: dict[str, object], name: str, path: str, longest: int | None = None) -> str:
    """The string called `name`, which must be there and not empty."""
    value = _required(parent, name, path)
    if value == "":
        raise _missing(path)
    if not isinstance(value, str):
        raise _invalid(path, "a string")
    if longest is not None and len(value) > longest:
        raise _invalid(path, f"at most {longest} characters")
    return value


def _optional_text(parent: dict[str, object], name: str, path: str, longest: int | None = None) -> None:
    """The string called `name` may be absent, but is not empty if it is there."""
    if name in parent:
        _required_text(parent, name, path, longest)


def _objects(parent: dict[str, object], name: str, path: str, longest: int | None = None) -> list[dict[str, object]]:
    """The array of objects called `name`, none if it is absent."""
    value = parent.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _invalid(path, "an array of objects")
    if longest is not None and len(value) > longest:
        raise _invalid(path, f"at most {longest} items")
    return value
