"""The interactive types that show what a catalog holds: one product, several, or all."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from dispatcher.message.content.built import filled
from dispatcher.message.content.frame import NO_HEADER, TEXT_HEADER, Around, Interactive, frame
from dispatcher.message.content.sections import PRODUCT_SECTIONS, product_sections
from dispatcher.message.content.shape import record, text, word

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
        self, catalog_id: str, product_retailer_id: str, *, body: str | None = None, **around: Unpack[Around]
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
        around = Around(header=header, footer=footer, reply_to=reply_to)
        super().__init__("product_list", action, body, check=PRODUCT_LIST, **around)


class Catalog(Interactive):
    """A button that opens the whole catalog, beside the picture of the product `thumbnail`."""

    def __init__(self, body: str, *, thumbnail: str | None = None, **around: Unpack[Around]) -> None:
        parameters = None if thumbnail is None else {"thumbnail_product_retailer_id": thumbnail}
        action = filled(name="catalog_message", parameters=parameters)
        super().__init__("catalog_message", action, body, check=CATALOG, **around)


def product_action(catalog_id: str, product_retailer_id: str) -> dict[str, str]:
    """Return the action that shows one product."""
    return {"catalog_id": catalog_id, "product_retailer_id": product_retailer_id}
