"""The kind `template`: a name, a language, and what fills its places; a one-time password is one.

Only what is wrong for every template is checked: the template itself, and so the number and types of its
parameters, is known to Meta alone. Components and parameters of unknown types pass.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dispatcher.message.content.actions import CALL_MINUTES_MAX, PRODUCT_SECTIONS, product_sections
from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.contacts import LOCATION
from dispatcher.message.content.shape import (
    Check,
    ContentError,
    Problem,
    array,
    by_type,
    given,
    integer,
    link,
    record,
    text,
    word,
    wrong_count,
)
from dispatcher.message.content.text_media import DOCUMENT, IMAGE, VIDEO

COUPON_CHARACTERS_MAX = 20
"""An older text of Meta says 15."""

Parameter = str | Mapping[str, Any]
"""A text, or an object: `Currency(…)`, `DateTime(…)`, media such as `Image(link="https://…")`, a `Location`."""

Parameters = Parameter | Sequence[Parameter] | Mapping[str, Parameter]
"""Parameters in their order, or by their names where the template names them; a single one may stand alone."""


def _text(value: Any, at: str, found: list[Problem]) -> None:
    # One of Meta's own examples fills the text of a quick reply with true and false.
    if not isinstance(value, str | bool):
        found.append(Problem(at, f"must be a string, {given(value)}"))


_TARGETS = array(record({"url": link, "title": text()}))
_CURRENCY = record({"fallback_value": text(), "code": text(), "amount_1000": integer()})
_ACTION = record(
    {},
    {
        "flow_token": text(least=0),
        "flow_action_data": record({}),
        "thumbnail_product_retailer_id": text(least=0),
        "sections": PRODUCT_SECTIONS,
    },
)
_CHECKS: Mapping[str, Check] = {
    "text": _text,
    "currency": _CURRENCY,
    "date_time": record({"fallback_value": text()}),
    "image": IMAGE,
    "video": VIDEO,
    "document": DOCUMENT,
    "location": LOCATION,
    "product": record({"product_retailer_id": text(), "catalog_id": text()}),
    "payload": text(least=0),
    "coupon_code": text(COUPON_CHARACTERS_MAX),
    "action": _ACTION,
    "limited_time_offer": record({"expiration_time_ms": integer(0)}),
    "tap_target_configuration": _TARGETS,
    "ttl_minutes": integer(1, CALL_MINUTES_MAX),
}

PARAMETERS = array(
    by_type({kind: record({kind: check}, {"parameter_name": text()}) for kind, check in _CHECKS.items()})
)


class Currency(dict[str, Any]):
    """An amount in thousandths: 100990 is 100.99; `fallback` is shown where it cannot be written locally."""

    def __init__(self, fallback: str, *, code: str, amount_1000: int) -> None:
        super().__init__(
            type="currency", currency={"fallback_value": fallback, "code": code, "amount_1000": amount_1000}
        )


class DateTime(dict[str, Any]):
    """A date or time as it is shown."""

    def __init__(self, fallback: str) -> None:
        super().__init__(type="date_time", date_time={"fallback_value": fallback})


def parameters(filled_with: Parameters) -> list[dict[str, Any]]:
    """Return parameters as Meta documents them."""
    if isinstance(filled_with, Mapping):
        # A parameter has a field of the name that is its type; who calls a place "type" fills it with something else.
        if isinstance(kind := filled_with.get("type"), str) and kind in filled_with:
            return [dict(filled_with)]
        return [{**_parameter(value), "parameter_name": name} for name, value in filled_with.items()]
    return [_parameter(value) for value in ([filled_with] if isinstance(filled_with, str) else filled_with)]


def _parameter(value: Parameter) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"type": "text", "text": value}


CARDS_MAX = 10
BUTTONS_MAX = 10

_FILLED = record({}, {"parameters": PARAMETERS})
_IN_CARDS = {
    "header": _FILLED,
    "body": _FILLED,
    "button": record({"sub_type": text(), "index": integer(0, BUTTONS_MAX - 1)}, {"parameters": PARAMETERS}),
}
_CARD = record({"card_index": integer(0, CARDS_MAX - 1)}, {"components": array(by_type(_IN_CARDS))})

COMPONENTS = array(
    by_type(
        {
            **_IN_CARDS,
            "carousel": record({"cards": array(_CARD, CARDS_MAX, least=1)}),
            "limited_time_offer": _FILLED,
            "tap_target_configuration": _FILLED,
        }
    )
)


class _Button(dict[str, Any]):
    """A button of a template with what fills it; its place is that in the list it is given in."""

    def __init__(self, sub_type: str, kind: str, value: object) -> None:
        super().__init__(type="button", sub_type=sub_type, parameters=[{"type": kind, kind: value}])


class UrlButton(_Button):
    """Opens the URL of the template, which ends in `ending`."""

    def __init__(self, ending: str) -> None:
        super().__init__("url", "text", ending)


class QuickReply(_Button):
    """Answers; `payload` comes back with the answer."""

    def __init__(self, payload: str) -> None:
        super().__init__("quick_reply", "payload", payload)


class CopyCode(_Button):
    """Copies a coupon's code."""

    def __init__(self, code: str) -> None:
        super().__init__("copy_code", "coupon_code", code)


class FlowButton(_Button):
    """Opens the flow of the template, for which `token` and `data` are passed on."""

    def __init__(self, *, token: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__("flow", "action", filled(flow_token=token, flow_action_data=data))


class CatalogButton(_Button):
    """Opens the catalog, beside the picture of the product `thumbnail`."""

    def __init__(self, *, thumbnail: str | None = None) -> None:
        super().__init__("CATALOG", "action", filled(thumbnail_product_retailer_id=thumbnail))


class ProductsButton(_Button):
    """Shows up to 30 products in sections, each a title with ids at the retailer."""

    def __init__(self, sections: Mapping[str, Sequence[str]], *, thumbnail: str | None = None) -> None:
        value = filled(thumbnail_product_retailer_id=thumbnail, sections=product_sections(sections))
        super().__init__("mpm", "action", value)


class CallButton(_Button):
    """Calls the business; it works for so many minutes."""

    def __init__(self, *, ttl_minutes: int) -> None:
        super().__init__("voice_call", "ttl_minutes", ttl_minutes)


class LimitedTimeOffer(dict[str, Any]):
    """The component that counts down to the end of an offer; an aware datetime."""

    def __init__(self, ends_at: datetime) -> None:
        if ends_at.utcoffset() is None:
            raise ValueError(f"ends_at must say its time zone, given {ends_at}")
        offer = {"expiration_time_ms": int(ends_at.timestamp() * 1000)}
        super().__init__(
            type="limited_time_offer", parameters=[{"type": "limited_time_offer", "limited_time_offer": offer}]
        )


class TemplateCard(dict[str, Any]):
    """A card of a template's carousel; its place is that in the list it is given in."""

    def __init__(
        self,
        *,
        header: Parameter | None = None,
        body: Parameters = (),
        buttons: Sequence[Mapping[str, Any] | None] = (),
    ) -> None:
        super().__init__(components=[*texts(header, body), *in_places(buttons)])


def texts(header: Parameter | None, body: Parameters) -> list[dict[str, Any]]:
    """Return the components `header` and `body`, each only if something fills it."""
    parts = {"header": [] if header is None else parameters(header), "body": parameters(body)}
    return [{"type": kind, "parameters": filling} for kind, filling in parts.items() if filling]


def in_places(buttons: Sequence[Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """Return the buttons with their index; None leaves out one that nothing fills."""
    return [{"index": str(index), **button} for index, button in enumerate(buttons) if button is not None]


NAME_CHARACTERS_MAX = 512

_LANGUAGE = record(
    {"code": text(wanted='a language such as "en_US"')}, {"policy": word("deterministic")}, like='{"code": "en_US"}'
)

TEMPLATE = record({"name": text(NAME_CHARACTERS_MAX), "language": _LANGUAGE}, {"components": COMPONENTS})


class Template(Content):
    """A template in a language, with what fills its header, body and buttons.

    `buttons` are in their order, with None for those that nothing fills; `cards` are `TemplateCard`s; `components`
    are put in as they are, such as a `LimitedTimeOffer`.
    """

    def __init__(  # noqa: PLR0913 - the parts Meta documents
        self,
        name: str,
        language: str,
        *,
        header: Parameter | None = None,
        body: Parameters = (),
        buttons: Sequence[Mapping[str, Any] | None] = (),
        cards: Sequence[Mapping[str, Any]] = (),
        components: Sequence[Mapping[str, Any]] = (),
        reply_to: str | None = None,
    ) -> None:
        carousel = [{"card_index": index, **card} for index, card in enumerate(cards)]
        parts = [*texts(header, body), *components, *in_places(buttons)]
        if carousel:
            parts.append({"type": "carousel", "cards": carousel})
        value = filled(name=name, language={"code": language}, components=parts or None)
        super().__init__("template", value, TEMPLATE, reply_to)


CODE_CHARACTERS_MAX = 15


class Otp(Template):
    """A code in the body and the button of an authentication template. Errors never repeat the code.

    Meta sends no such template to a user id.

    Raises:
        ContentError: the code is empty, has white space in it, or is longer than Meta takes.
    """

    def __init__(self, code: str, *, template: str, language: str, reply_to: str | None = None) -> None:
        if reason := _wrong(code):
            raise ContentError((Problem("code", reason),))
        super().__init__(template, language, body=[code], buttons=[UrlButton(code)], reply_to=reply_to)


def _wrong(code: object) -> str | None:
    """Return what is wrong with a code; None if nothing is."""
    if not isinstance(code, str):
        return f"must be a string of 1 to {CODE_CHARACTERS_MAX} characters"
    if any(character.isspace() for character in code):
        return "must have no white space"
    return wrong_count(len(code), CODE_CHARACTERS_MAX, "characters", least=1)
