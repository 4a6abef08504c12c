"""The kind `interactive`: its types, each known by its action, how they are checked and built. Other types pass.

Buttons, lists, flows, products of a catalog, and carousels of cards.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from dispatcher.message.content.built import filled
from dispatcher.message.content.interactive import (
    NO_FOOTER,
    NO_HEADER,
    TEXT_HEADER,
    Framing,
    Interactive,
    body_of,
    frame,
)
from dispatcher.message.content.shape import (
    MISSING,
    Check,
    Problem,
    array,
    both,
    by_type,
    exactly_one,
    given,
    integer,
    link,
    objects,
    record,
    refuse_repeats,
    text,
    word,
    wrong_count,
)
from dispatcher.message.content.text_media import IMAGE, VIDEO

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

    def __init__(self, body: str, buttons: Sequence[tuple[str, str]], **around: Unpack[Framing]) -> None:
        replies = [{"type": "reply", "reply": {"id": id_, "title": title}} for id_, title in buttons]
        super().__init__("button", {"buttons": replies}, body, check=BUTTON, **around)


class CtaUrl(Interactive):
    """One button that opens a URL."""

    def __init__(self, body: str, display_text: str, url: str, **around: Unpack[Framing]) -> None:
        super().__init__("cta_url", cta_url_action(display_text, url), body, check=CTA_URL, **around)


class LocationRequest(Interactive):
    """A button by which somebody says where they are."""

    def __init__(self, body: str, *, reply_to: str | None = None) -> None:
        action = {"name": "send_location"}
        super().__init__("location_request_message", action, body, check=LOCATION_REQUEST, reply_to=reply_to)


def cta_url_action(display_text: str, url: str) -> dict[str, Any]:
    """Return the action of a button that opens a URL."""
    return {"name": "cta_url", "parameters": {"display_text": display_text, "url": url}}


SECTIONS_MAX = 10
SECTION_TITLE_CHARACTERS_MAX = 24
PRODUCTS_MAX = 30


def sections(rows: str, row: Check, most: int) -> Check:
    """A list of sections whose rows, in the field called `rows`, are no more than `most` in all."""
    section = record({rows: array(row)}, {"title": text(SECTION_TITLE_CHARACTERS_MAX, least=0)})

    def check_total(value: Any, at: str, found: list[Problem]) -> None:
        counts = [len(inner[rows]) for _, inner in objects(value) if isinstance(inner.get(rows), list)]
        if isinstance(value, list) and (reason := wrong_count(sum(counts), most, f"{rows} in all", least=1)):
            found.append(Problem(at, reason))

    return both(array(section, SECTIONS_MAX, least=1), check_total, _check_titles)


def _check_titles(value: Any, at: str, found: list[Problem]) -> None:
    """With several sections each needs a title."""
    if not isinstance(value, list) or len(value) < 2:
        return
    for index, section in objects(value):
        title = section.get("title", MISSING)
        if title is MISSING or title == "":
            found.append(Problem(f"{at}[{index}].title", f"is needed with several sections, {given(title)}"))


_PRODUCT_ROW = record({"product_retailer_id": text()})
PRODUCT_SECTIONS = sections("product_items", _PRODUCT_ROW, PRODUCTS_MAX)


def product_sections(given_sections: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return sections of products as Meta documents them; without a title where it is empty."""
    return [
        filled(title=title or None, product_items=[{"product_retailer_id": product} for product in products])
        for title, products in given_sections.items()
    ]


LIST_BODY_CHARACTERS_MAX = 4096
"""Meta's page; its schema says 1024."""

BUTTON_CHARACTERS_MAX = 20
ROWS_MAX = 10
ROW_ID_CHARACTERS_MAX = 200
ROW_TITLE_CHARACTERS_MAX = 24
ROW_DESCRIPTION_CHARACTERS_MAX = 72

Row = tuple[str, str] | tuple[str, str, str]
"""Id, which comes back, title, and a description."""

ROW = record(
    {"id": text(ROW_ID_CHARACTERS_MAX), "title": text(ROW_TITLE_CHARACTERS_MAX)},
    {"description": text(ROW_DESCRIPTION_CHARACTERS_MAX, least=0)},
)

LIST = frame(
    record({"button": text(BUTTON_CHARACTERS_MAX), "sections": sections("rows", ROW, ROWS_MAX)}),
    body=body_of(LIST_BODY_CHARACTERS_MAX),
    header=TEXT_HEADER,
)


class List(Interactive):
    """Up to ten rows behind a button: `rows` alone, or `sections` by their titles. A header can only be text."""

    def __init__(
        self,
        body: str,
        button: str,
        *,
        rows: Sequence[Row] = (),
        sections: Mapping[str, Sequence[Row]] | None = None,
        **around: Unpack[Framing],
    ) -> None:
        untitled = [{"rows": _rows(rows)}] if rows else []
        titled = [{"title": title, "rows": _rows(inner)} for title, inner in (sections or {}).items()]
        super().__init__("list", {"button": button, "sections": untitled + titled}, body, check=LIST, **around)


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [filled(**dict(zip(("id", "title", "description"), row, strict=False))) for row in rows]


CTA_CHARACTERS_MAX = 30
"""Meta's schema; some clients stop at 20."""

MESSAGE_VERSION = "3"


def _data(value: Any, at: str, found: list[Problem]) -> None:
    # Meta's page says object and shows a string that holds JSON.
    if not isinstance(value, dict | str) or not value:
        found.append(Problem(at, f"must be an object that is not empty, {given(value)}"))


FLOW = frame(
    record(
        {
            "name": word("flow"),
            "parameters": record(
                {"flow_message_version": word(MESSAGE_VERSION), "flow_cta": text(CTA_CHARACTERS_MAX)},
                {
                    "flow_id": text(),
                    "flow_name": text(),
                    "flow_token": text(least=0),
                    "mode": word("draft", "published"),
                    "flow_action": word("navigate", "data_exchange"),
                    "flow_action_payload": record({"screen": text()}, {"data": _data}),
                },
                exactly_one("flow_id", "flow_name"),
            ),
        }
    )
)


class Flow(Interactive):
    """A button `cta` that opens a flow, known by its id or its name, at `screen` with `data` if they are given."""

    def __init__(  # noqa: PLR0913 - the fields Meta documents
        self,
        body: str,
        cta: str,
        *,
        flow_id: str | None = None,
        flow_name: str | None = None,
        token: str | None = None,
        screen: str | None = None,
        data: Mapping[str, Any] | None = None,
        flow_action: Literal["navigate", "data_exchange"] | None = None,
        mode: Literal["draft", "published"] | None = None,
        **around: Unpack[Framing],
    ) -> None:
        starts = screen is not None or data is not None
        parameters = filled(
            flow_message_version=MESSAGE_VERSION,
            flow_id=flow_id,
            flow_name=flow_name,
            flow_cta=cta,
            flow_token=token,
            mode=mode,
            flow_action=flow_action or ("navigate" if starts else None),
            flow_action_payload=filled(screen=screen, data=data) if starts else None,
        )
        super().__init__("flow", {"name": "flow", "parameters": parameters}, body, check=FLOW, **around)


PRODUCT_ACTION = record({"catalog_id": text(), "product_retailer_id": text()})

PRODUCT = frame(PRODUCT_ACTION, header=NO_HEADER, needed=())
PRODUCT_LIST = frame(
    record({"catalog_id": text(), "sections": PRODUCT_SECTIONS}), header=TEXT_HEADER, needed=("header", "body")
)
# The schema needs a thumbnail, the page does not.
CATALOG = frame(
    record(
        {"name": word("catalog_message")}, {"parameters": record({}, {"thumbnail_product_retailer_id": text(least=0)})}
    )
)


class Product(Interactive):
    """One product of a catalog, by its id at the retailer; it has no header."""

    def __init__(
        self, catalog_id: str, product_retailer_id: str, *, body: str | None = None, **around: Unpack[Framing]
    ) -> None:
        super().__init__("product", product_action(catalog_id, product_retailer_id), body, check=PRODUCT, **around)


class ProductList(Interactive):
    """Up to 30 products of a catalog in sections, each a title with ids at the retailer; the header is a text."""

    def __init__(
        self,
        header: str,
        body: str,
        *,
        catalog_id: str,
        sections: Mapping[str, Sequence[str]],
        footer: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        action = {"catalog_id": catalog_id, "sections": product_sections(sections)}
        around = Framing(header=header, footer=footer, reply_to=reply_to)
        super().__init__("product_list", action, body, check=PRODUCT_LIST, **around)


class Catalog(Interactive):
    """A button that opens the whole catalog, beside the picture of the product `thumbnail`."""

    def __init__(self, body: str, *, thumbnail: str | None = None, **around: Unpack[Framing]) -> None:
        parameters = None if thumbnail is None else {"thumbnail_product_retailer_id": thumbnail}
        action = filled(name="catalog_message", parameters=parameters)
        super().__init__("catalog_message", action, body, check=CATALOG, **around)


def product_action(catalog_id: str, product_retailer_id: str) -> dict[str, str]:
    """Return the action that shows one product."""
    return {"catalog_id": catalog_id, "product_retailer_id": product_retailer_id}


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


CALL_MINUTES_MAX = 43_200
CALL_PAYLOAD_CHARACTERS_MAX = 512

_VOICE_CALL = frame(
    record(
        {"name": word("voice_call")},
        {
            "parameters": record(
                {},
                {
                    "display_text": text(BUTTON_TITLE_CHARACTERS_MAX),
                    "ttl_minutes": integer(1, CALL_MINUTES_MAX),
                    "payload": text(CALL_PAYLOAD_CHARACTERS_MAX, least=0),
                },
            )
        },
    )
)

INTERACTIVE = by_type(
    {
        "button": BUTTON,
        "carousel": CAROUSEL,
        "catalog_message": CATALOG,
        "cta_url": CTA_URL,
        "flow": FLOW,
        "list": LIST,
        "location_request_message": LOCATION_REQUEST,
        "product": PRODUCT,
        "product_list": PRODUCT_LIST,
        "voice_call": _VOICE_CALL,
    }
)
