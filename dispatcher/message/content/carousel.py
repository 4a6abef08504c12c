"""The interactive type `carousel`: cards side by side, either media with buttons or products of one catalog."""

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.message.content.built import filled
from dispatcher.message.content.buttons import CTA_URL_ACTION, REPLY, cta_url_action
from dispatcher.message.content.frame import NO_FOOTER, NO_HEADER, Interactive, frame
from dispatcher.message.content.media import IMAGE, VIDEO
from dispatcher.message.content.problem import Problem
from dispatcher.message.content.products import PRODUCT_ACTION, product_action
from dispatcher.message.content.shape import array, both, by_type, given, integer, objects, record, text, word

CARDS_MIN = 2
CARDS_MAX = 10
CARD_BODY_CHARACTERS_MAX = 160
CARD_BODY_LINE_BREAKS_MAX = 2


def _few_lines(value: Any, at: str, found: list[Problem]) -> None:
    if isinstance(value, str) and (count := value.count("\n")) > CARD_BODY_LINE_BREAKS_MAX:
        found.append(Problem(at, f"must have at most {CARD_BODY_LINE_BREAKS_MAX} line breaks, given {count}"))


_QUICK_REPLIES = record({"buttons": array(by_type({"quick_reply": record({"quick_reply": REPLY})}), least=1)})


def _media_action(value: Any, at: str, found: list[Problem]) -> None:
    has_replies = isinstance(value, dict) and "buttons" in value
    (_QUICK_REPLIES if has_replies else CTA_URL_ACTION)(value, at, found)


_INDEX = integer(0, CARDS_MAX - 1)
_MEDIA_CARD = record(
    {
        "card_index": _INDEX,
        "header": both(
            record({"type": word("image", "video")}),
            by_type({"image": record({"image": IMAGE}), "video": record({"video": VIDEO})}, otherwise="image"),
        ),
        "action": _media_action,
    },
    {"body": record({"text": both(text(CARD_BODY_CHARACTERS_MAX), _few_lines)})},
)
_CARD = by_type(
    {"cta_url": _MEDIA_CARD, "product": record({"card_index": _INDEX, "action": PRODUCT_ACTION})}, otherwise="cta_url"
)


def _alike(value: Any, at: str, found: list[Problem]) -> None:
    """All cards have the same kind and number of buttons, and their products are of one catalog."""
    actions = [(f"{at}[{index}].action", card.get("action")) for index, card in objects(value)]
    forms = [(path, _form(action)) for path, action in actions if isinstance(action, dict)]
    for path, (form, catalog) in forms[1:]:
        first_form, first_catalog = forms[0][1]
        if form != first_form:
            found.append(Problem(path, f"must be like that of the first card, {first_form}, given {form}"))
        elif catalog != first_catalog:
            found.append(Problem(f"{path}.catalog_id", f"must be that of the first card, {given(catalog)}"))


def _form(action: Mapping[str, Any]) -> tuple[str, object]:
    """Return what all cards must have alike: the form of the action in words, and the catalog of its product."""
    if "buttons" in action:
        count = len(action["buttons"]) if isinstance(action["buttons"], list) else 0
        return f"{count} quick {'reply' if count == 1 else 'replies'}", None
    return ("a product", action.get("catalog_id")) if "product_retailer_id" in action else ("a link", None)


CAROUSEL = frame(
    record({"cards": both(array(_CARD, CARDS_MAX, least=CARDS_MIN), _alike)}), header=NO_HEADER, footer=NO_FOOTER
)


class MediaCard(dict[str, Any]):
    """A card with an `Image` or `Video`, and either a `link` (its label and URL) or `replies` (id and title)."""

    def __init__(
        self,
        header: Mapping[str, Any],
        *,
        body: str | None = None,
        link: tuple[str, str] | None = None,
        replies: Sequence[tuple[str, str]] = (),
    ) -> None:
        buttons = [{"type": "quick_reply", "quick_reply": {"id": id_, "title": title}} for id_, title in replies]
        action = {"buttons": buttons} if link is None else cta_url_action(*link)
        # Meta's page has this type on cards with quick replies as well.
        super().__init__(
            filled(type="cta_url", header=header, body=None if body is None else {"text": body}, action=action)
        )


class ProductCard(dict[str, Any]):
    """A card with a product of a catalog, by its id at the retailer."""

    def __init__(self, catalog_id: str, product_retailer_id: str) -> None:
        super().__init__(type="product", action=product_action(catalog_id, product_retailer_id))


class Carousel(Interactive):
    """Two to ten cards, all `MediaCard` or all `ProductCard`."""

    def __init__(self, body: str, cards: Sequence[Mapping[str, Any]], *, reply_to: str | None = None) -> None:
        numbered = [{"card_index": index, **card} for index, card in enumerate(cards)]
        super().__init__("carousel", {"cards": numbered}, body, check=CAROUSEL, reply_to=reply_to)
