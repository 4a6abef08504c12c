import inspect
import json
import pickle
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

import dispatcher
from dispatcher import errors
from dispatcher.message import content as contents
from dispatcher.message.content import (
    Audio,
    Buttons,
    CallButton,
    Carousel,
    Catalog,
    CatalogButton,
    Contact,
    Contacts,
    Content,
    ContentError,
    CopyCode,
    CtaUrl,
    Currency,
    DateTime,
    Document,
    Flow,
    FlowButton,
    Image,
    LimitedTimeOffer,
    List,
    Location,
    LocationRequest,
    MediaCard,
    Otp,
    Problem,
    Product,
    ProductCard,
    ProductList,
    ProductsButton,
    QuickReply,
    Reaction,
    Sticker,
    Template,
    TemplateCard,
    Text,
    UrlButton,
    Video,
)
from dispatcher.message.message import Message, body
from tests.message.samples import LINK, OFFER_ENDS_AT, Json, interactive, reply, template

DOCS = Path(__file__).parents[2] / "docs" / "content.md"


def text(value: str) -> Json:
    return {"type": "text", "text": value}


def button(sub_type: str, index: str, kind: str, value: Any) -> Json:
    return {"type": "button", "sub_type": sub_type, "index": index, "parameters": [{"type": kind, kind: value}]}


def code_in(place: Json) -> Json:
    return place | {"parameters": [text("123456")]}


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (Text("Hello"), {"type": "text", "text": {"body": "Hello"}}),
        (
            Text("Hello", preview_url=False, reply_to="wamid.1"),
            {"type": "text", "text": {"body": "Hello", "preview_url": False}, "context": {"message_id": "wamid.1"}},
        ),
        (Image(id="1"), {"type": "image", "image": {"id": "1"}}),
        (Image(link=LINK, caption="Here"), {"type": "image", "image": {"link": LINK, "caption": "Here"}}),
        (Video(link=LINK, caption="Here"), {"type": "video", "video": {"link": LINK, "caption": "Here"}}),
        (Audio(id="1", voice=True), {"type": "audio", "audio": {"id": "1", "voice": True}}),
        (
            Document(id="1", caption="Here", filename="a.pdf"),
            {"type": "document", "document": {"id": "1", "caption": "Here", "filename": "a.pdf"}},
        ),
        (
            Sticker(link=LINK, reply_to="wamid.1"),
            {"type": "sticker", "sticker": {"link": LINK}, "context": {"message_id": "wamid.1"}},
        ),
        (Location(1.5, -2), {"type": "location", "location": {"latitude": 1.5, "longitude": -2}}),
        (
            Location(1.5, -2, name="Office", address="Main Street 1"),
            {
                "type": "location",
                "location": {"latitude": 1.5, "longitude": -2, "name": "Office", "address": "Main Street 1"},
            },
        ),
        (
            Contacts([Contact("Ann Smith"), {"name": {"formatted_name": "Bob"}, "new": 1}]),
            {
                "type": "contacts",
                "contacts": [
                    {"name": {"formatted_name": "Ann Smith", "first_name": "Ann Smith"}},
                    {"name": {"formatted_name": "Bob"}, "new": 1},
                ],
            },
        ),
        (
            Contacts(
                [
                    Contact(
                        "Ann Smith",
                        name_parts={"first_name": "Ann", "last_name": "Smith"},
                        phones=["+15551234567", {"phone": "+15557654321", "type": "WORK", "wa_id": "15557654321"}],
                        emails=["ann@example.com"],
                        urls=[LINK],
                        addresses=[{"city": "Berlin"}],
                        org={"company": "Example"},
                        birthday=date(1912, 6, 23),
                    )
                ]
            ),
            {
                "type": "contacts",
                "contacts": [
                    {
                        "name": {"formatted_name": "Ann Smith", "first_name": "Ann", "last_name": "Smith"},
                        "phones": [
                            {"phone": "+15551234567"},
                            {"phone": "+15557654321", "type": "WORK", "wa_id": "15557654321"},
                        ],
                        "emails": [{"email": "ann@example.com"}],
                        "urls": [{"url": LINK}],
                        "addresses": [{"city": "Berlin"}],
                        "org": {"company": "Example"},
                        "birthday": "1912-06-23",
                    }
                ],
            },
        ),
        (Reaction("wamid.1", ""), {"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": ""}}),
    ],
)
def test_a_plain_kind_is_built_as_meta_documents_it(built: Content, expected: Json) -> None:
    assert built == expected


SKUS = {"product_items": [{"product_retailer_id": "sku-1"}, {"product_retailer_id": "sku-2"}]}


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (Buttons("Choose", [("yes", "Yes")]), interactive("button", {"buttons": [reply()]})),
        (
            Buttons("Choose", [("yes", "Yes")], header="Now", footer="Later", reply_to="wamid.1"),
            interactive(
                "button",
                {"buttons": [reply()]},
                header={"type": "text", "text": "Now"},
                footer={"text": "Later"},
            )
            | {"context": {"message_id": "wamid.1"}},
        ),
        (
            Buttons("Choose", [("yes", "Yes")], header=Image(link=LINK)),
            interactive("button", {"buttons": [reply()]}, header={"type": "image", "image": {"link": LINK}}),
        ),
        (
            List("Choose", "Open", rows=[("1", "Apple"), ("2", "Pear", "Green")]),
            interactive(
                "list",
                {
                    "button": "Open",
                    "sections": [
                        {"rows": [{"id": "1", "title": "Apple"}, {"id": "2", "title": "Pear", "description": "Green"}]}
                    ],
                },
            ),
        ),
        (
            List("Choose", "Open", sections={"Fruit": [("1", "Apple")], "Other": [("2", "Bread")]}),
            interactive(
                "list",
                {
                    "button": "Open",
                    "sections": [
                        {"title": "Fruit", "rows": [{"id": "1", "title": "Apple"}]},
                        {"title": "Other", "rows": [{"id": "2", "title": "Bread"}]},
                    ],
                },
            ),
        ),
        (
            CtaUrl("Choose", "Open", LINK),
            interactive("cta_url", {"name": "cta_url", "parameters": {"display_text": "Open", "url": LINK}}),
        ),
        (
            LocationRequest("Choose", reply_to="wamid.1"),
            interactive("location_request_message", {"name": "send_location"}) | {"context": {"message_id": "wamid.1"}},
        ),
        (
            Flow("Choose", "Open", flow_id="1"),
            interactive(
                "flow",
                {"name": "flow", "parameters": {"flow_message_version": "3", "flow_id": "1", "flow_cta": "Open"}},
            ),
        ),
        (
            Flow("Choose", "Open", flow_name="book", token="t", screen="START", data={"a": 1}, mode="draft"),
            interactive(
                "flow",
                {
                    "name": "flow",
                    "parameters": {
                        "flow_message_version": "3",
                        "flow_name": "book",
                        "flow_cta": "Open",
                        "flow_token": "t",
                        "mode": "draft",
                        "flow_action": "navigate",
                        "flow_action_payload": {"screen": "START", "data": {"a": 1}},
                    },
                },
            ),
        ),
        (Product("1", "sku-1"), interactive("product", {"catalog_id": "1", "product_retailer_id": "sku-1"}, body=None)),
        (
            Product("1", "sku-1", body="Choose"),
            interactive("product", {"catalog_id": "1", "product_retailer_id": "sku-1"}),
        ),
        (
            ProductList("Offers", "Choose", catalog_id="1", sections={"": ["sku-1", "sku-2"]}),
            interactive(
                "product_list",
                {"catalog_id": "1", "sections": [SKUS]},
                header={"type": "text", "text": "Offers"},
            ),
        ),
        (Catalog("Choose"), interactive("catalog_message", {"name": "catalog_message"})),
        (
            Catalog("Choose", thumbnail="sku-1"),
            interactive(
                "catalog_message",
                {"name": "catalog_message", "parameters": {"thumbnail_product_retailer_id": "sku-1"}},
            ),
        ),
        (
            Carousel("Choose", [MediaCard(Image(link=LINK), body="One", link=("Open", LINK))] * 2),
            interactive(
                "carousel",
                {
                    "cards": [
                        {
                            "card_index": index,
                            "type": "cta_url",
                            "header": {"type": "image", "image": {"link": LINK}},
                            "body": {"text": "One"},
                            "action": {"name": "cta_url", "parameters": {"display_text": "Open", "url": LINK}},
                        }
                        for index in range(2)
                    ]
                },
            ),
        ),
        (
            Carousel("Choose", [MediaCard(Video(link=LINK), replies=[("yes", "Yes")])] * 2),
            interactive(
                "carousel",
                {
                    "cards": [
                        {
                            "card_index": index,
                            "type": "cta_url",
                            "header": {"type": "video", "video": {"link": LINK}},
                            "action": {
                                "buttons": [{"type": "quick_reply", "quick_reply": {"id": "yes", "title": "Yes"}}]
                            },
                        }
                        for index in range(2)
                    ]
                },
            ),
        ),
        (
            Carousel("Choose", [ProductCard("1", "sku-1"), ProductCard("1", "sku-2")]),
            interactive(
                "carousel",
                {
                    "cards": [
                        {
                            "card_index": index,
                            "type": "product",
                            "action": {"catalog_id": "1", "product_retailer_id": f"sku-{index + 1}"},
                        }
                        for index in range(2)
                    ]
                },
            ),
        ),
    ],
)
def test_an_interactive_message_is_built_as_meta_documents_it(built: Content, expected: Json) -> None:
    assert built == expected


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (Template("shipped", "en_US"), template()),
        (
            Template("shipped", "en_US", header="Ann", body=["Ann", Currency("1 €", code="EUR", amount_1000=1000)]),
            template(
                {"type": "header", "parameters": [text("Ann")]},
                {
                    "type": "body",
                    "parameters": [
                        text("Ann"),
                        {
                            "type": "currency",
                            "currency": {"fallback_value": "1 €", "code": "EUR", "amount_1000": 1000},
                        },
                    ],
                },
            ),
        ),
        (
            Template("shipped", "en_US", header=Location(1, 2), body={"who": "Ann", "type": DateTime("noon")}),
            template(
                {
                    "type": "header",
                    "parameters": [{"type": "location", "location": {"latitude": 1, "longitude": 2}}],
                },
                {
                    "type": "body",
                    "parameters": [
                        text("Ann") | {"parameter_name": "who"},
                        {"type": "date_time", "date_time": {"fallback_value": "noon"}, "parameter_name": "type"},
                    ],
                },
            ),
        ),
        (
            Template("shipped", "en_US", body="Ann", buttons=[None, UrlButton("4411"), QuickReply("yes")]),
            template(
                {"type": "body", "parameters": [text("Ann")]},
                button("url", "1", "text", "4411"),
                button("quick_reply", "2", "payload", "yes"),
            ),
        ),
        (
            Template(
                "shipped",
                "en_US",
                buttons=[
                    CopyCode("SAVE"),
                    FlowButton(token="t", data={"a": 1}),
                    CatalogButton(thumbnail="sku-1"),
                    ProductsButton({"Fruit": ["sku-1", "sku-2"]}),
                    CallButton(ttl_minutes=60),
                    {"type": "button", "sub_type": "new", "index": 9},
                ],
            ),
            template(
                button("copy_code", "0", "coupon_code", "SAVE"),
                button("flow", "1", "action", {"flow_token": "t", "flow_action_data": {"a": 1}}),
                button("CATALOG", "2", "action", {"thumbnail_product_retailer_id": "sku-1"}),
                button("mpm", "3", "action", {"sections": [{"title": "Fruit"} | SKUS]}),
                button("voice_call", "4", "ttl_minutes", 60),
                {"type": "button", "sub_type": "new", "index": 9},
            ),
        ),
        (
            Template(
                "shipped",
                "en_US",
                body="Ann",
                components=[LimitedTimeOffer(OFFER_ENDS_AT)],
                cards=[TemplateCard(header=Image(id="1"), body="Apple", buttons=[UrlButton("1")]), TemplateCard()],
            ),
            template(
                {"type": "body", "parameters": [text("Ann")]},
                {
                    "type": "limited_time_offer",
                    "parameters": [
                        {
                            "type": "limited_time_offer",
                            "limited_time_offer": {"expiration_time_ms": 1_795_305_600_000},
                        }
                    ],
                },
                {
                    "type": "carousel",
                    "cards": [
                        {
                            "card_index": 0,
                            "components": [
                                {"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]},
                                {"type": "body", "parameters": [text("Apple")]},
                                button("url", "0", "text", "1"),
                            ],
                        },
                        {"card_index": 1, "components": []},
                    ],
                },
            ),
        ),
        (
            Otp("123456", template="shipped", language="en_US"),
            template(code_in({"type": "body"}), code_in({"type": "button", "sub_type": "url", "index": "0"})),
        ),
    ],
)
def test_a_template_is_built_as_meta_documents_it(built: Content, expected: Json) -> None:
    assert built == expected


# One-time passwords


@pytest.mark.parametrize("code", ["1", "x" * 15, "12-34"])
def test_a_code_within_its_limits_is_taken(code: str) -> None:
    components = Otp(code, template="login", language="de")["template"]["components"]
    assert [component["parameters"] for component in components] == [[text(code)], [text(code)]]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x" * 16, "must have at most 15 characters, given 16"),
        ("", "must have 1 to 15 characters, given 0"),
        ("123 456", "must have no white space"),
        ("123456\n", "must have no white space"),
        ("\u00a0", "must have no white space"),
        (123456, "must be a string of 1 to 15 characters"),
    ],
)
def test_a_code_that_meta_would_not_take_is_refused_and_never_shown(code: Any, reason: str) -> None:
    with pytest.raises(errors.Refused) as refused:
        Otp(code, template="login", language="en_US")
    assert (refused.value.field, refused.value.reason) == ("code", reason)


def test_a_code_needs_the_name_and_language_of_its_template() -> None:
    with pytest.raises(errors.Refused) as refused:
        Otp("123456", template="", language="")
    assert str(refused.value) == (
        "content.template.name: must have 1 to 512 characters, given 0; "
        'content.template.language.code: must be a language such as "en_US", given ""'
    )


# What is built is a content


def test_what_is_built_is_refused_as_what_is_pasted() -> None:
    problem = Problem("content.interactive.action.buttons[1].reply.title", "must have at most 20 characters, given 31")
    with pytest.raises(errors.Refused) as refused:
        Buttons("Choose", [("a", "A"), ("b", "x" * 31)])
    assert isinstance(refused.value, ContentError)
    assert refused.value.problems == (problem,)
    assert str(refused.value) == ": ".join(problem)
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (type(copy), copy.problems, str(copy)) == (ContentError, (problem,), ": ".join(problem))


def test_many_problems_are_named_and_the_rest_is_counted() -> None:
    with pytest.raises(errors.Refused) as refused:
        List("Choose", "Open", rows=[("1", "")] * 10)
    title = "must have 1 to 24 characters, given 0"
    rows = "content.interactive.action.sections[0].rows"
    assert refused.value.field == f"{rows}[0].title"
    assert refused.value.reason == "; ".join(
        [title, *(f"{rows}[{index}].title: {title}" for index in range(1, 8)), "and 2 more"]
    )


def test_a_misspelt_part_is_no_part() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'hedaer'"):
        Buttons("Choose", [("a", "A")], hedaer="Now")  # type: ignore[call-arg] # what is tested


def test_what_json_cannot_say_is_refused_when_it_is_built() -> None:
    with pytest.raises(errors.Refused) as refused:
        Text("\ud83d")
    assert str(refused.value) == (
        'content.text.body: text with half a surrogate pair, which UTF-8 cannot say: "\\ud83d"'
    )


def test_an_offer_says_its_time_zone() -> None:
    with pytest.raises(ValueError, match=r"^ends_at must say its time zone, given 2026-11-22 00:00:00$"):
        LimitedTimeOffer(datetime(2026, 11, 22))


def test_what_is_built_keeps_to_itself_what_it_says() -> None:
    assert repr(Otp("123456", template="login", language="en_US")) == "<Otp>"


def test_what_is_built_goes_wherever_json_goes() -> None:
    built = Text("Hello", reply_to="wamid.1")
    assert json.loads(json.dumps(built)) == built
    assert pickle.loads(pickle.dumps(built)) == built
    pasted = dict(built)
    by_class = Message(number="otp-us", to="+15551234567", content=built)
    assert by_class == Message(number="otp-us", to="+15551234567", content=pasted)
    assert type(by_class.content) is dict
    assert body(by_class).endswith(b'"type":"text","text":{"body":"Hello"},"context":{"message_id":"wamid.1"}')


def test_what_is_changed_after_it_was_built_is_checked_in_the_message() -> None:
    built = Text("Hello")
    built["text"]["body"] = ""
    with pytest.raises(errors.Refused) as refused:
        Message(number="otp-us", to="+15551234567", content=built)
    assert str(refused.value) == "content.text.body: must have 1 to 4096 characters, given 0"


# docs/content.md


def test_the_page_shows_every_class_with_an_example_that_holds() -> None:
    rows = re.findall(r"^\| `(\S+)`(?: `(\S+)`)? \| `(\w+)` \| `(.+)` \|$", DOCS.read_text(), flags=re.MULTILINE)
    for kind, interactive_type, name, example in rows:
        built = eval(example, vars(contents))
        assert type(built).__name__ == name
        assert built["type"] == kind
        assert not interactive_type or built["interactive"]["type"] == interactive_type
    classes = {name for name, value in vars(contents).items() if inspect.isclass(value) and issubclass(value, Content)}
    assert {name for _, _, name, _ in rows} == classes - {"Content"}


def test_the_page_names_every_part() -> None:
    parts = {name for name in contents.__all__ if inspect.isclass(vars(contents)[name])} - {
        *("Content", "ContentError", "Problem")
    }
    assert {name for name in parts if f"`{name}`" not in DOCS.read_text()} == set()


def test_the_code_on_the_page_runs() -> None:
    code = re.search(r"```python\n(.+?)```", DOCS.read_text(), flags=re.DOTALL)
    assert code
    exec(code[1], {})


def test_every_content_comes_with_the_package() -> None:
    classes = {name for name in contents.__all__ if isinstance(vars(contents)[name], type)}
    kinds = {name for name in classes if issubclass(vars(contents)[name], Content)} - {"Content"}
    assert kinds <= set(dispatcher.__all__)
