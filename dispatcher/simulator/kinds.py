"""The shape of each kind of message that Meta documents; of other kinds only that the same-named object is there."""

from collections.abc import Callable

from dispatcher.simulator.malformed import bad, items, missing, optional_text, required
from dispatcher.simulator.malformed import required_object as obj
from dispatcher.simulator.malformed import required_text as text

LONGEST_BODY = 4096
LONGEST_CAPTION = 1024
LONGEST_TEMPLATE_NAME = 512
MOST_CONTACTS = 257
HAS_CAPTION = frozenset({"image", "video", "document"})
COMPONENTS = frozenset({"header", "body", "button", "carousel", "limited_time_offer", "tap_target_configuration"})


def check_kind(kind: str, document: dict[str, object]) -> None:
    """Check the object that is named as the type.

    Raises:
        Malformed: Meta would refuse it.
    """
    if kind == "contacts":
        _check_contacts(document)
        return
    content = obj(document, kind, kind)
    check = _CHECKS.get(kind)
    if check is not None:
        check(kind, content)


def _check_text(kind: str, content: dict[str, object]) -> None:
    text(content, "body", f"{kind}.body", LONGEST_BODY)
    if not isinstance(content.get("preview_url", False), bool):
        raise bad("text.preview_url", "true or false")


def _check_media(kind: str, content: dict[str, object]) -> None:
    if ("id" in content) == ("link" in content):
        raise bad(kind, "exactly one of id and link")
    if "id" in content:
        text(content, "id", f"{kind}.id")
    elif not text(content, "link", f"{kind}.link").startswith(("https://", "http://")):
        raise bad(f"{kind}.link", "an http or https URL")
    if "caption" in content and kind not in HAS_CAPTION:
        raise bad(f"{kind}.caption", f"{kind} has no caption")
    optional_text(content, "caption", f"{kind}.caption", LONGEST_CAPTION)
    if "filename" in content and kind != "document":
        raise bad(f"{kind}.filename", f"{kind} has no filename")
    optional_text(content, "filename", f"{kind}.filename")


def _check_location(_kind: str, content: dict[str, object]) -> None:
    _check_degrees(content, "latitude", 90)
    _check_degrees(content, "longitude", 180)


def _check_degrees(content: dict[str, object], name: str, most: int) -> None:
    # Meta's schema says string, Meta's own example sends numbers.
    value = required(content, name, f"location.{name}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad(f"location.{name}", "a number")
    try:
        is_within = -most <= float(value) <= most
    except (ValueError, OverflowError):
        is_within = False
    if not is_within:
        raise bad(f"location.{name}", f"between -{most} and {most}")


def _check_reaction(_kind: str, content: dict[str, object]) -> None:
    text(content, "message_id", "reaction.message_id")
    # An empty emoji takes the reaction back.
    if not isinstance(required(content, "emoji", "reaction.emoji"), str):
        raise bad("reaction.emoji", "a string")


def _check_contacts(document: dict[str, object]) -> None:
    if not required(document, "contacts", "contacts"):
        raise missing("contacts")
    for contact in items(document, "contacts", "contacts", MOST_CONTACTS):
        text(obj(contact, "name", "contacts.name"), "formatted_name", "contacts.name.formatted_name")


def _check_template(_kind: str, content: dict[str, object]) -> None:
    text(content, "name", "template.name", LONGEST_TEMPLATE_NAME)
    language = obj(content, "language", "template.language")
    text(language, "code", "template.language.code")
    if language.get("policy", "deterministic") != "deterministic":
        raise bad("template.language.policy", "deterministic")
    for component in items(content, "components", "template.components"):
        kind = text(component, "type", "template.components.type")
        if kind.lower() not in COMPONENTS:
            raise bad("template.components.type", f"one of {', '.join(sorted(COMPONENTS))}")
        if kind.lower() == "button":
            _check_template_button(component)
        for parameter in items(component, "parameters", "template.components.parameters"):
            text(parameter, "type", "template.components.parameters.type")


def _check_template_button(component: dict[str, object]) -> None:
    text(component, "sub_type", "template.components.sub_type")
    # A string in some of Meta's examples, a number in others.
    index = required(component, "index", "template.components.index")
    if str(index) not in {str(place) for place in range(10)}:
        raise bad("template.components.index", "0 to 9")


def _check_interactive(_kind: str, content: dict[str, object]) -> None:
    kind = text(content, "type", "interactive.type")
    if "body" in content:
        text(obj(content, "body", "interactive.body"), "text", "interactive.body.text", LONGEST_BODY)
    action = obj(content, "action", "interactive.action")
    if kind == "button" and not 1 <= len(items(action, "buttons", "interactive.action.buttons")) <= 3:
        raise bad("interactive.action.buttons", "one to three buttons")
    if kind == "list":
        text(action, "button", "interactive.action.button", 20)
        _check_list(action)


def _check_list(action: dict[str, object]) -> None:
    sections = items(action, "sections", "interactive.action.sections", 10)
    rows = [row for section in sections for row in items(section, "rows", "interactive.action.sections.rows") if row]
    if not 1 <= len(rows) <= 10:
        raise bad("interactive.action.sections", "one to ten rows")


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
