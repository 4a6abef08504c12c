"""Every limit of a content: where it holds, how much it allows, and a content that has just so much there."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.message.samples import (
    MEDIA,
    Json,
    buttons,
    card,
    carousel,
    cta_url,
    flow,
    interactive,
    list_of,
    message,
    parameter,
    product_list,
    products,
    quick_reply,
    reply,
    row,
    template,
    voice_call,
)


class Limit(NamedTuple):
    """What lies at `at` has `least` to `most` of `unit`; `make` makes a content with so many."""

    at: str
    least: int
    most: int
    make: Callable[[int], Json]
    unit: str = "characters"


def titled(count: int, rows: str, inner: list[Json]) -> list[Json]:
    return [{"title": f"Section {index}", rows: inner if not index else []} for index in range(count)]


_ACTION = "content.interactive.action"
_PARAMETER = "content.template.components[0].parameters[0]"

LIMITS = (
    Limit("content.text.body", 1, 4096, lambda n: message("text", {"body": "x" * n})),
    Limit("content.image.caption", 0, 1024, lambda n: message("image", MEDIA | {"caption": "x" * n})),
    Limit("content.video.caption", 0, 1024, lambda n: message("video", MEDIA | {"caption": "x" * n})),
    Limit("content.document.caption", 0, 1024, lambda n: message("document", MEDIA | {"caption": "x" * n})),
    Limit(
        "content.contacts", 1, 257, lambda n: message("contacts", [{"name": {"formatted_name": "Ann"}}] * n), "items"
    ),
    Limit("content.interactive.body.text", 1, 1024, lambda n: buttons(body={"text": "x" * n})),
    Limit("content.interactive.body.text", 1, 4096, lambda n: list_of({"rows": [row()]}, body={"text": "x" * n})),
    Limit("content.interactive.header.text", 1, 60, lambda n: buttons(header={"type": "text", "text": "x" * n})),
    Limit("content.interactive.footer.text", 1, 60, lambda n: buttons(footer={"text": "x" * n})),
    Limit(
        f"{_ACTION}.buttons",
        1,
        3,
        lambda n: buttons(*[reply(str(i), str(i)) for i in range(n)]) if n else interactive("button", {"buttons": []}),
        "items",
    ),
    Limit(f"{_ACTION}.buttons[0].reply.id", 1, 256, lambda n: buttons(reply(id_="x" * n))),
    Limit(f"{_ACTION}.buttons[0].reply.title", 1, 20, lambda n: buttons(reply(title="x" * n))),
    Limit(
        f"{_ACTION}.button", 1, 20, lambda n: interactive("list", {"button": "x" * n, "sections": [{"rows": [row()]}]})
    ),
    Limit(f"{_ACTION}.sections", 1, 10, lambda n: list_of(*titled(n, "rows", [row()])), "items"),
    Limit(f"{_ACTION}.sections", 1, 10, lambda n: list_of({"rows": [row()] * n}), "rows in all"),
    Limit(f"{_ACTION}.sections[0].title", 0, 24, lambda n: list_of({"title": "x" * n, "rows": [row()]})),
    Limit(f"{_ACTION}.sections[0].rows[0].id", 1, 200, lambda n: list_of({"rows": [row(id="x" * n)]})),
    Limit(f"{_ACTION}.sections[0].rows[0].title", 1, 24, lambda n: list_of({"rows": [row(title="x" * n)]})),
    Limit(f"{_ACTION}.sections[0].rows[0].description", 0, 72, lambda n: list_of({"rows": [row(description="x" * n)]})),
    Limit(f"{_ACTION}.sections", 1, 30, lambda n: product_list({"product_items": products(n)}), "product_items in all"),
    Limit(f"{_ACTION}.parameters.display_text", 1, 20, lambda n: interactive("cta_url", cta_url("x" * n))),
    Limit(f"{_ACTION}.parameters.flow_cta", 1, 30, lambda n: flow(flow_cta="x" * n)),
    Limit(f"{_ACTION}.parameters.payload", 0, 512, lambda n: voice_call(payload="x" * n)),
    Limit(f"{_ACTION}.cards", 2, 10, lambda n: carousel(*[card(min(i, 9)) for i in range(n)]), "items"),
    Limit(f"{_ACTION}.cards[0].body.text", 1, 160, lambda n: carousel(card(body={"text": "x" * n}), card(1))),
    Limit(
        f"{_ACTION}.cards[0].action.parameters.display_text",
        1,
        20,
        lambda n: carousel(card(action=cta_url("x" * n)), card(1)),
    ),
    Limit(
        f"{_ACTION}.cards[0].action.buttons[0].quick_reply.id",
        1,
        256,
        lambda n: carousel(quick_reply(0, id="x" * n), quick_reply(1)),
    ),
    Limit(
        f"{_ACTION}.cards[0].action.buttons[0].quick_reply.title",
        1,
        20,
        lambda n: carousel(quick_reply(0, title="x" * n), quick_reply(1)),
    ),
    Limit("content.template.name", 1, 512, lambda n: template(name="x" * n)),
    Limit(
        "content.template.components[0].cards",
        1,
        10,
        lambda n: template({"type": "carousel", "cards": [{"card_index": min(i, 9)} for i in range(n)]}),
        "items",
    ),
    Limit(f"{_PARAMETER}.coupon_code", 1, 20, lambda n: parameter("coupon_code", "x" * n)),
    Limit(
        f"{_PARAMETER}.action.sections",
        1,
        10,
        lambda n: parameter("action", {"sections": titled(n, "product_items", products(1))}),
        "items",
    ),
    Limit(
        f"{_PARAMETER}.action.sections",
        1,
        30,
        lambda n: parameter("action", {"sections": [{"product_items": products(n)}]}),
        "product_items in all",
    ),
    Limit(
        f"{_PARAMETER}.action.sections[0].title",
        0,
        24,
        lambda n: parameter("action", {"sections": [{"title": "x" * n, "product_items": products(1)}]}),
    ),
)
"""Limits of a count, said by `must have at most …` and `must have … to …`."""


class Range(NamedTuple):
    """What lies at `at` is a number from `least` to `most`; `make` makes a content with it there."""

    at: str
    least: int
    most: int
    make: Callable[[Any], Json]
    kind: str = "an integer"


RANGES = (
    Range(
        "content.location.latitude", -90, 90, lambda n: message("location", {"latitude": n, "longitude": 0}), "a number"
    ),
    Range(
        "content.location.longitude",
        -180,
        180,
        lambda n: message("location", {"latitude": 0, "longitude": n}),
        "a number",
    ),
    Range(
        "content.template.components[0].index",
        0,
        9,
        lambda n: template({"type": "button", "sub_type": "url", "index": n}),
    ),
    Range(
        "content.template.components[0].cards[0].card_index",
        0,
        9,
        lambda n: template({"type": "carousel", "cards": [{"card_index": n}]}),
    ),
    Range(f"{_PARAMETER}.ttl_minutes", 1, 43_200, lambda n: parameter("ttl_minutes", n)),
    Range(f"{_ACTION}.cards[0].card_index", 0, 9, lambda n: carousel(card(n), card(1))),
    Range(f"{_ACTION}.parameters.ttl_minutes", 1, 43_200, lambda n: voice_call(ttl_minutes=n)),
)
