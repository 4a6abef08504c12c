from typing import Any

import pytest

from dispatcher.message import content as contents
from dispatcher.message.content import ContentError
from tests.message.samples import (
    BODY,
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
)

AN_OBJECT = "must be an object"
NOT_EMPTY = "must be a string that is not empty"
URL = 'must be a URL such as "https://example.com/a"'
NO_HEADER = "has no place here: this type of message has no header"
NO_FOOTER = "has no place here: this type of message has no footer"
NO_CAPTION = "has no place here: only image, video and document have a caption"
NO_FILENAME = "has no place here: only a document has a filename"
TEXT_ONLY = 'must be "text": this type of message has no other header'
CONTACT = {"name": {"formatted_name": "Ann"}}
PRODUCT = {"catalog_id": "1", "product_retailer_id": "sku-1"}
_ACTION = "content.interactive.action"
_PARAMETER = "content.template.components[0].parameters[0]"


def product_card(index: int, catalog: str = "1") -> Json:
    return {"card_index": index, "type": "product", "action": PRODUCT | {"catalog_id": catalog}}


def contact(**fields: Any) -> Json:
    return message("contacts", [CONTACT | fields])


def refusal(content: Any) -> dict[str, str]:
    with pytest.raises(ContentError) as refused:
        contents.read(content)
    return {problem.field: problem.reason for problem in refused.value.problems}


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (message("image", {}), "content.image", "must have exactly one of id and link, given neither"),
        (message("video", {"id": "1"} | MEDIA), "content.video", "must have exactly one of id and link, given both"),
        (message("audio", {"id": ""}), "content.audio.id", f'{NOT_EMPTY}, given ""'),
        (message("audio", {"id": 1}), "content.audio.id", f"{NOT_EMPTY}, given 1"),
        (message("sticker", {"link": "a.webp"}), "content.sticker.link", f'{URL}, given "a.webp"'),
        (
            message("image", MEDIA | {"caption": 1}),
            "content.image.caption",
            "must be a string of 0 to 1024 characters, given 1",
        ),
        (message("image", MEDIA | {"filename": "a"}), "content.image.filename", NO_FILENAME),
        (message("document", MEDIA | {"filename": None}), "content.document.filename", f"{NOT_EMPTY}, given null"),
        (message("audio", MEDIA | {"caption": "a"}), "content.audio.caption", NO_CAPTION),
        (message("audio", MEDIA | {"voice": "yes"}), "content.audio.voice", 'must be true or false, given "yes"'),
        (message("sticker", MEDIA | {"caption": "a"}), "content.sticker.caption", NO_CAPTION),
        (
            message("location", {"longitude": 1}),
            "content.location.latitude",
            "must be a number from -90 to 90, but it is missing",
        ),
        (
            message("location", {"latitude": 1, "longitude": "east"}),
            "content.location.longitude",
            'must be a number from -180 to 180, given "east"',
        ),
        (
            message("location", {"latitude": "nan", "longitude": 1}),
            "content.location.latitude",
            'must be a number from -90 to 90, given "nan"',
        ),
        (
            message("location", {"latitude": 1, "longitude": 1, "name": 5}),
            "content.location.name",
            "must be a string, given 5",
        ),
        (message("contacts", {}), "content.contacts", 'must be a list, as type is "contacts", given an object'),
        (message("contacts", ["Ann"]), "content.contacts[0]", f'{AN_OBJECT}, given "Ann"'),
        (
            message("contacts", [{}]),
            "content.contacts[0].name",
            f'{AN_OBJECT} such as {{"formatted_name": "Ann Smith"}}, but it is missing',
        ),
        (
            message("contacts", [{"name": {}}]),
            "content.contacts[0].name.formatted_name",
            f"{NOT_EMPTY}, but it is missing",
        ),
        (contact(phones="+1555"), "content.contacts[0].phones", 'must be a list of objects, given "+1555"'),
        (contact(phones=[{"phone": 1555}]), "content.contacts[0].phones[0].phone", "must be a string, given 1555"),
        (
            contact(birthday="23.6.1912"),
            "content.contacts[0].birthday",
            'must be a day such as "1912-06-23", given "23.6.1912"',
        ),
        (message("reaction", {"emoji": "👍"}), "content.reaction.message_id", f"{NOT_EMPTY}, but it is missing"),
        (message("reaction", {"message_id": "1"}), "content.reaction.emoji", "must be a string, but it is missing"),
        (
            message("reaction", {"message_id": "1", "emoji": ""}) | {"context": {"message_id": "1"}},
            "content.context",
            "a reaction is no reply: it names its message itself",
        ),
        (
            message("text", {"body": "a"}) | {"context": "1"},
            "content.context",
            f'{AN_OBJECT} such as {{"message_id": "wamid.…"}}, given "1"',
        ),
        (
            message("text", {"body": "a"}) | {"context": {}},
            "content.context.message_id",
            f"{NOT_EMPTY}, but it is missing",
        ),
    ],
)
def test_a_plain_kind_meta_would_refuse_is_refused(content: Json, field: str, reason: str) -> None:
    assert refusal(content) == {field: reason}


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (message("interactive", {}), "content.interactive.type", "must be a string, but it is missing"),
        (
            buttons(body="Hi"),
            "content.interactive.body",
            f'{AN_OBJECT} such as {{"text": "Hello"}}, given "Hi"',
        ),
        (
            buttons(body={}),
            "content.interactive.body.text",
            "must be a string of 1 to 1024 characters, but it is missing",
        ),
        (
            buttons(footer="Hi"),
            "content.interactive.footer",
            f'{AN_OBJECT} such as {{"text": "Since 1912"}}, given "Hi"',
        ),
        (buttons(header="Hi"), "content.interactive.header", f'{AN_OBJECT}, given "Hi"'),
        (buttons(header={"type": "image"}), "content.interactive.header.image", f"{AN_OBJECT}, but it is missing"),
        (
            buttons(header=message("video", {})),
            "content.interactive.header.video",
            "must have exactly one of id and link, given neither",
        ),
        (interactive("button", {}), f"{_ACTION}.buttons", "must be a list of objects, but it is missing"),
        (
            buttons({"type": "reply"}),
            f"{_ACTION}.buttons[0].reply",
            f'{AN_OBJECT} such as {{"id": "yes", "title": "Yes"}}, but it is missing',
        ),
        (
            buttons(reply("a", "A"), reply("a", "B")),
            f"{_ACTION}.buttons[1].reply.id",
            'must be unique, given "a" again',
        ),
        (
            buttons(reply("a", "A"), reply("b", "B"), reply("c", "A")),
            f"{_ACTION}.buttons[2].reply.title",
            'must be unique, given "A" again',
        ),
        (buttons(reply(" a")), f"{_ACTION}.buttons[0].reply.id", "must not begin or end with a space"),
        (list_of({"rows": [row()]}, header=message("image", MEDIA)), "content.interactive.header.type", TEXT_ONLY),
        (
            list_of({"rows": [row()]}, {"rows": [], "title": "Fruit"}),
            f"{_ACTION}.sections[0].title",
            "is needed with several sections, but it is missing",
        ),
        (
            list_of({"rows": [row()], "title": ""}, {"rows": [], "title": "Fruit"}),
            f"{_ACTION}.sections[0].title",
            'is needed with several sections, given ""',
        ),
        (
            list_of({"rows": [row()] * 6, "title": "A"}, {"rows": [row()] * 5, "title": "B"}),
            f"{_ACTION}.sections",
            "must have at most 10 rows in all, given 11",
        ),
        (list_of({"rows": ["Apple"]}), f"{_ACTION}.sections[0].rows[0]", f'{AN_OBJECT}, given "Apple"'),
        (
            interactive("cta_url", {"name": "url", "parameters": cta_url("Open")["parameters"]}),
            f"{_ACTION}.name",
            'must be "cta_url", given "url"',
        ),
        (
            interactive("cta_url", {"name": "cta_url", "parameters": {"display_text": "Open"}}),
            f"{_ACTION}.parameters.url",
            f"{URL}, but it is missing",
        ),
        (interactive("location_request_message", {}), f"{_ACTION}.name", 'must be "send_location", but it is missing'),
        (
            interactive("location_request_message", {"name": "send_location"}, header=BODY),
            "content.interactive.header",
            NO_HEADER,
        ),
        (
            interactive("location_request_message", {"name": "send_location"}, footer=BODY),
            "content.interactive.footer",
            NO_FOOTER,
        ),
        (flow(flow_message_version=3), f"{_ACTION}.parameters.flow_message_version", 'must be "3", given 3'),
        (flow(flow_name="book"), f"{_ACTION}.parameters", "must have exactly one of flow_id and flow_name, given both"),
        (flow(mode="test"), f"{_ACTION}.parameters.mode", 'must be one of draft, published, given "test"'),
        (
            flow(flow_action="open"),
            f"{_ACTION}.parameters.flow_action",
            'must be one of navigate, data_exchange, given "open"',
        ),
        (
            flow(flow_action_payload={}),
            f"{_ACTION}.parameters.flow_action_payload.screen",
            f"{NOT_EMPTY}, but it is missing",
        ),
        (
            flow(flow_action_payload={"screen": "A", "data": {}}),
            f"{_ACTION}.parameters.flow_action_payload.data",
            f"{AN_OBJECT} that is not empty, given an object",
        ),
        (
            interactive("product", {"catalog_id": "1"}),
            f"{_ACTION}.product_retailer_id",
            f"{NOT_EMPTY}, but it is missing",
        ),
        (interactive("product", PRODUCT, header=BODY), "content.interactive.header", NO_HEADER),
        (
            product_list({"product_items": products(1)}, header=message("image", MEDIA)),
            "content.interactive.header.type",
            TEXT_ONLY,
        ),
        (
            interactive("product_list", {"catalog_id": "1", "sections": [{"product_items": products(1)}]}),
            "content.interactive.header",
            f"{AN_OBJECT}, but it is missing",
        ),
        (
            interactive("catalog_message", {"name": "catalog"}),
            f"{_ACTION}.name",
            'must be "catalog_message", given "catalog"',
        ),
        (
            carousel(card(header=message("document", MEDIA)), card(1)),
            f"{_ACTION}.cards[0].header.type",
            'must be one of image, video, given "document"',
        ),
        (
            carousel(card(body={"text": "1\n2\n3\n4"}), card(1)),
            f"{_ACTION}.cards[0].body.text",
            "must have at most 2 line breaks, given 3",
        ),
        (
            carousel(card(), quick_reply(1)),
            f"{_ACTION}.cards[1].action",
            "must be like that of the first card, a link, given 1 quick reply",
        ),
        (
            carousel(product_card(0), product_card(1, "2")),
            f"{_ACTION}.cards[1].action.catalog_id",
            'must be that of the first card, given "2"',
        ),
        (interactive("carousel", {"cards": [card(), card(1)]}, header=BODY), "content.interactive.header", NO_HEADER),
    ],
)
def test_an_interactive_message_meta_would_refuse_is_refused(content: Json, field: str, reason: str) -> None:
    assert refusal(content) == {field: reason}


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (
            template({"type": "button", "index": 0}),
            "content.template.components[0].sub_type",
            f"{NOT_EMPTY}, but it is missing",
        ),
        (
            template({"type": "button", "sub_type": "url"}),
            "content.template.components[0].index",
            "must be an integer from 0 to 9, but it is missing",
        ),
        (
            template({"type": "button", "sub_type": "url", "index": "first"}),
            "content.template.components[0].index",
            'must be an integer from 0 to 9, given "first"',
        ),
        (
            template({"type": "carousel"}),
            "content.template.components[0].cards",
            "must be a list of objects, but it is missing",
        ),
        (
            parameter("currency", {"code": "EUR", "amount_1000": 1}),
            f"{_PARAMETER}.currency.fallback_value",
            f"{NOT_EMPTY}, but it is missing",
        ),
        (
            parameter("currency", {"fallback_value": "1", "code": "EUR", "amount_1000": 1.5}),
            f"{_PARAMETER}.currency.amount_1000",
            "must be an integer, given 1.5",
        ),
        (parameter("date_time", "noon"), f"{_PARAMETER}.date_time", f'{AN_OBJECT}, given "noon"'),
        (parameter("image", {}), f"{_PARAMETER}.image", "must have exactly one of id and link, given neither"),
        (parameter("document", {"link": "a"}), f"{_PARAMETER}.document.link", f'{URL}, given "a"'),
        (
            parameter("location", {"latitude": "1"}),
            f"{_PARAMETER}.location.longitude",
            "must be a number from -180 to 180, but it is missing",
        ),
        (
            parameter("product", {"catalog_id": "1"}),
            f"{_PARAMETER}.product.product_retailer_id",
            f"{NOT_EMPTY}, but it is missing",
        ),
        (parameter("payload", None), f"{_PARAMETER}.payload", "must be a string, given null"),
        (
            parameter("action", {"flow_action_data": []}),
            f"{_PARAMETER}.action.flow_action_data",
            f"{AN_OBJECT}, given a list",
        ),
        (
            parameter("limited_time_offer", {}),
            f"{_PARAMETER}.limited_time_offer.expiration_time_ms",
            "must be an integer from 0, but it is missing",
        ),
        (
            parameter("tap_target_configuration", [{"title": "a"}]),
            f"{_PARAMETER}.tap_target_configuration[0].url",
            f"{URL}, but it is missing",
        ),
        (
            template({"type": "body", "parameters": [{"type": "text", "text": "a", "parameter_name": 1}]}),
            f"{_PARAMETER}.parameter_name",
            f"{NOT_EMPTY}, given 1",
        ),
    ],
)
def test_a_template_meta_would_refuse_is_refused(content: Json, field: str, reason: str) -> None:
    assert refusal(content) == {field: reason}


# What is unknown


@pytest.mark.parametrize(
    "content",
    [
        message("interactive", {"type": "hologram"}),
        message("interactive", {"type": "order_details", "body": 5, "action": []}),
        buttons({"type": "hologram", "hologram": 5}),
        buttons(header={"type": "hologram"}),
        list_of({"rows": [row()]}, header={"type": "hologram"}),
        carousel({"type": "hologram"}, {"type": "hologram"}),
        template({"type": "hologram", "parameters": 5}),
        template({"type": "BODY", "parameters": [{"type": "hologram", "hologram": 5}]}),
        template({"type": "body", "parameters": [{"type": "hologram", "hologram": 5}]}),
        flow(flow_action_payload={"screen": "A", "data": '{"a": 1}'}),
        message("pin", {"type": "pin", "message_id": "wamid.1"}),
    ],
)
def test_what_is_unknown_passes(content: Json) -> None:
    assert contents.read(content) == content


SOUND = [
    message("text", {"body": "Hello"}) | {"context": {"message_id": "wamid.1"}},
    message("image", MEDIA),
    message("location", {"latitude": "1.5", "longitude": -2}),
    message("contacts", [CONTACT | {"phones": [{"phone": "1"}], "org": {"company": "Example"}}]),
    message("reaction", {"message_id": "wamid.1", "emoji": ""}),
    buttons(header=message("image", MEDIA), footer={"text": "Later"}),
    list_of({"rows": [row(description="Red")], "title": "Fruit"}),
    interactive("cta_url", cta_url("Open")),
    flow(flow_action_payload={"screen": "A", "data": {"a": 1}}),
    interactive("product", PRODUCT),
    product_list({"product_items": products(2)}),
    carousel(card(), card(1)),
    carousel(quick_reply(0), quick_reply(1)),
    carousel(product_card(0), product_card(1)),
    template({"type": "button", "sub_type": "url", "index": 0, "parameters": [message("text", "a")]}),
    template({"type": "carousel", "cards": [{"card_index": 0, "components": [{"type": "body", "parameters": []}]}]}),
    parameter("currency", {"fallback_value": "1", "code": "EUR", "amount_1000": "1"}),
    parameter("action", {"sections": [{"product_items": products(1)}]}),
]


def widened(value: Any) -> Any:
    """The same with one field more in every object."""
    if isinstance(value, dict):
        return {name: widened(inner) for name, inner in value.items()} | {"brand_new": [{"a": None}]}
    return [widened(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("content", SOUND, ids=lambda content: content["type"])
def test_a_new_field_passes_at_every_level(content: Json) -> None:
    assert contents.read(widened(content)) == widened(content)


def spoilt(value: Any) -> list[Any]:
    """The same in many ways, each with one thing in it replaced by what it cannot be."""
    found: list[Any] = [None, 5, "x", [], {}, [None], {"type": None}, [[]]]
    if isinstance(value, dict):
        found += [value | {name: wrong} for name, inner in value.items() for wrong in spoilt(inner)]
        found += [{other: value[other] for other in value if other != name} for name in value]
    if isinstance(value, list):
        found += [
            [*value[:index], wrong, *value[index + 1 :]] for index, inner in enumerate(value) for wrong in spoilt(inner)
        ]
    return found


@pytest.mark.parametrize("content", SOUND, ids=lambda content: content["type"])
def test_whatever_is_spoilt_is_taken_or_refused_with_its_path(content: Json) -> None:
    for wrong in spoilt(content):
        try:
            assert contents.read(wrong)
        except ContentError as exc:
            assert all(problem.field.startswith("content") for problem in exc.problems)  # noqa: PT017 - either is fine
