"""The components of a template: header, body, buttons, and the cards of a carousel, each with its parameters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dispatcher.message.content.built import filled
from dispatcher.message.content.parameters import PARAMETERS, Parameter, Parameters, parameters
from dispatcher.message.content.sections import product_sections
from dispatcher.message.content.shape import array, by_type, integer, record, text

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
