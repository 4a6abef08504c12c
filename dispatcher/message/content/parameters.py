"""What fills the places of a template: the types of parameters, and those a producer builds."""

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.message.content.location import LOCATION
from dispatcher.message.content.media import DOCUMENT, IMAGE, VIDEO
from dispatcher.message.content.problem import Problem
from dispatcher.message.content.sections import PRODUCT_SECTIONS
from dispatcher.message.content.shape import Check, array, by_type, given, integer, link, record, text

COUPON_CHARACTERS_MAX = 20
"""An older text of Meta says 15."""

CALL_MINUTES_MAX = 43_200

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
