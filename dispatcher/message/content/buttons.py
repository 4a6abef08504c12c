"""The interactive types with buttons beneath a body: replies, one link, and the place where somebody is."""

from collections.abc import Sequence
from typing import Any, Unpack

from dispatcher.message.content.frame import NO_FOOTER, NO_HEADER, Around, Interactive, frame
from dispatcher.message.content.problem import Problem
from dispatcher.message.content.shape import array, both, by_type, link, objects, record, refuse_repeats, text, word

BUTTONS_MAX = 3
BUTTON_ID_CHARACTERS_MAX = 256
BUTTON_TITLE_CHARACTERS_MAX = 20


def _trimmed(value: Any, at: str, found: list[Problem]) -> None:
    if isinstance(value, str) and value != value.strip():
        found.append(Problem(at, "must not begin or end with a space"))


def _unique(value: Any, at: str, found: list[Problem]) -> None:
    for name in ("id", "title"):
        replies = [(index, button.get("reply")) for index, button in objects(value)]
        named = ((f"{at}[{index}].reply.{name}", reply) for index, reply in replies if isinstance(reply, dict))
        refuse_repeats(((path, reply.get(name)) for path, reply in named), found)


REPLY = record(
    {"id": both(text(BUTTON_ID_CHARACTERS_MAX), _trimmed), "title": text(BUTTON_TITLE_CHARACTERS_MAX)},
    like='{"id": "yes", "title": "Yes"}',
)
CTA_URL_ACTION = record(
    {
        "name": word("cta_url"),
        "parameters": record({"display_text": text(BUTTON_TITLE_CHARACTERS_MAX), "url": link}),
    }
)

BUTTON = frame(
    record({"buttons": both(array(by_type({"reply": record({"reply": REPLY})}), BUTTONS_MAX, least=1), _unique)})
)
CTA_URL = frame(CTA_URL_ACTION)
LOCATION_REQUEST = frame(record({"name": word("send_location")}), header=NO_HEADER, footer=NO_FOOTER)


class Buttons(Interactive):
    """One to three buttons, each an id, which comes back, and a title."""

    def __init__(self, body: str, buttons: Sequence[tuple[str, str]], **around: Unpack[Around]) -> None:
        replies = [{"type": "reply", "reply": {"id": id_, "title": title}} for id_, title in buttons]
        super().__init__("button", {"buttons": replies}, body, check=BUTTON, **around)


class CtaUrl(Interactive):
    """One button that opens a URL."""

    def __init__(self, body: str, display_text: str, url: str, **around: Unpack[Around]) -> None:
        super().__init__("cta_url", cta_url_action(display_text, url), body, check=CTA_URL, **around)


class LocationRequest(Interactive):
    """A button by which somebody says where they are."""

    def __init__(self, body: str, *, reply_to: str | None = None) -> None:
        action = {"name": "send_location"}
        super().__init__("location_request_message", action, body, check=LOCATION_REQUEST, reply_to=reply_to)


def cta_url_action(display_text: str, url: str) -> dict[str, Any]:
    """Return the action of a button that opens a URL."""
    return {"name": "cta_url", "parameters": {"display_text": display_text, "url": url}}
