"""Whatever can be built is a content that everyone takes: our own checks, the body, and the endpoint."""

import json
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.message import content as contents
from dispatcher.message.message import Message, body
from dispatcher.simulator.send_request import read_send_request
from tests.message.samples import LINK, OFFER_ENDS_AT

LINKS = st.just(LINK) | st.from_regex(r"https://[a-z]{1,9}\.example/[a-z]{0,9}", fullmatch=True)


def texts(most: int) -> st.SearchStrategy[str]:
    return st.text(min_size=1, max_size=most)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def media(cls: Any, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(cls, id=texts(30), **more) | st.builds(cls, link=LINKS, **more)


IDS = texts(20)
REPLY_TO = maybe(IDS)
CAPTION = maybe(texts(1024))
PICTURES = media(contents.Image) | media(contents.Video)
HEADERS = texts(60) | PICTURES | media(contents.Document)
FOOTERS = maybe(texts(60))
AROUND: dict[str, st.SearchStrategy[Any]] = {"header": maybe(HEADERS), "footer": FOOTERS, "reply_to": REPLY_TO}
REPLIES = st.lists(
    st.tuples(texts(256).filter(lambda text: text == text.strip()), texts(20)),
    min_size=1,
    max_size=3,
    unique_by=(lambda reply: reply[0], lambda reply: reply[1]),
)
ROWS = st.lists(st.tuples(texts(200), texts(24)) | st.tuples(texts(200), texts(24), texts(72)), min_size=1, max_size=5)
SECTIONS = st.dictionaries(texts(24), st.lists(IDS, min_size=1, max_size=3), min_size=1, max_size=10)
LABELS = st.tuples(texts(20), LINKS)
CARD_BODIES = maybe(texts(160).filter(lambda text: text.count("\n") <= 2))

PLAIN = st.one_of(
    st.builds(contents.Text, texts(4096), preview_url=maybe(st.booleans()), reply_to=REPLY_TO),
    media(contents.Image, caption=CAPTION, reply_to=REPLY_TO),
    media(contents.Video, caption=CAPTION, reply_to=REPLY_TO),
    media(contents.Audio, voice=maybe(st.booleans()), reply_to=REPLY_TO),
    media(contents.Document, caption=CAPTION, filename=maybe(texts(50)), reply_to=REPLY_TO),
    media(contents.Sticker, reply_to=REPLY_TO),
    st.builds(
        contents.Location, st.floats(-90, 90), st.floats(-180, 180), name=maybe(texts(50)), address=maybe(texts(50))
    ),
    st.builds(contents.Reaction, IDS, st.text(max_size=5)),
    st.builds(
        contents.Contacts,
        st.lists(
            st.builds(
                contents.Contact,
                texts(50),
                phones=st.lists(texts(20), max_size=3),
                emails=st.lists(texts(20), max_size=3),
                birthday=maybe(st.dates(min_value=date(1800, 1, 1))),
                org=maybe(st.fixed_dictionaries({"company": texts(20)})),
            ),
            min_size=1,
            max_size=257,
        ),
    ),
)
INTERACTIVE = st.one_of(
    st.builds(contents.Buttons, texts(1024), REPLIES, **AROUND),
    st.builds(contents.List, texts(4096), texts(20), rows=ROWS, **(AROUND | {"header": maybe(texts(60))})),
    st.builds(contents.List, texts(4096), texts(20), sections=st.dictionaries(texts(24), ROWS, min_size=1, max_size=2)),
    st.builds(contents.CtaUrl, texts(1024), texts(20), LINKS, **AROUND),
    st.builds(contents.LocationRequest, texts(1024), reply_to=REPLY_TO),
    st.builds(contents.Flow, texts(1024), texts(30), flow_id=IDS, token=maybe(texts(50)), screen=maybe(IDS), **AROUND),
    st.builds(
        contents.Flow, texts(1024), texts(30), flow_name=IDS, mode=maybe(st.sampled_from(["draft", "published"]))
    ),
    st.builds(contents.Product, IDS, IDS, body=maybe(texts(1024)), footer=FOOTERS),
    st.builds(contents.ProductList, texts(60), texts(1024), catalog_id=IDS, sections=SECTIONS, footer=FOOTERS),
    st.builds(contents.Catalog, texts(1024), thumbnail=maybe(IDS), footer=FOOTERS),
    st.builds(
        contents.Carousel,
        texts(1024),
        st.lists(st.builds(contents.MediaCard, PICTURES, body=CARD_BODIES, link=LABELS), min_size=2, max_size=10)
        | st.lists(st.builds(contents.ProductCard, st.just("catalog-1"), IDS), min_size=2, max_size=10),
    ),
)
PARAMETERS = (
    st.text(max_size=50)
    | PICTURES
    | st.builds(contents.Currency, IDS, code=st.just("EUR"), amount_1000=st.integers())
    | st.builds(contents.DateTime, IDS)
)
FILLINGS = st.lists(PARAMETERS, max_size=4) | st.dictionaries(IDS, PARAMETERS, max_size=4)
BUTTONS = st.lists(
    st.none()
    | st.builds(contents.UrlButton, st.text(max_size=50))
    | st.builds(contents.QuickReply, st.text(max_size=50))
    | st.builds(contents.CopyCode, texts(20))
    | st.builds(contents.FlowButton, token=maybe(IDS), data=maybe(st.dictionaries(IDS, st.integers(), max_size=3)))
    | st.builds(contents.CatalogButton, thumbnail=maybe(IDS))
    | st.builds(contents.ProductsButton, SECTIONS, thumbnail=maybe(IDS))
    | st.builds(contents.CallButton, ttl_minutes=st.integers(1, 43_200)),
    max_size=10,
)
TEMPLATES = st.one_of(
    st.builds(
        contents.Template,
        texts(512),
        texts(10),
        header=maybe(PARAMETERS),
        body=FILLINGS,
        buttons=BUTTONS,
        cards=st.lists(
            st.builds(contents.TemplateCard, header=maybe(PICTURES), body=FILLINGS, buttons=BUTTONS), max_size=3
        ),
        components=st.just([]) | st.just([contents.LimitedTimeOffer(OFFER_ENDS_AT)]),
        reply_to=REPLY_TO,
    ),
    st.builds(contents.Otp, st.from_regex(r"[0-9A-Z]{1,15}", fullmatch=True), template=texts(512), language=texts(10)),
)


@given(PLAIN | INTERACTIVE | TEMPLATES)
def test_whatever_is_built_is_taken_by_everyone_and_comes_back_the_same(built: contents.Content) -> None:
    assert contents.read(built) == built
    request = body(Message(number="otp-us", to="+15551234567", content=built)) + b"}"
    document = json.loads(request)
    assert {name: document.pop(name) for name in ("messaging_product", "recipient_type", "to")} == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+15551234567",
    }
    assert document == built
    assert contents.read(document) == built
    assert read_send_request("106540352242922", 0, "application/json", request).problem is None
