"""Sections, in which lists and product lists put their rows: how many there may be together, and their titles."""

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.message.content.built import filled
from dispatcher.message.content.problem import Problem
from dispatcher.message.content.shape import MISSING, Check, array, both, given, objects, record, text, wrong_count

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


PRODUCT = record({"product_retailer_id": text()})
PRODUCT_SECTIONS = sections("product_items", PRODUCT, PRODUCTS_MAX)


def product_sections(given_sections: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return sections of products as Meta documents them; without a title where it is empty."""
    return [
        filled(title=title or None, product_items=[{"product_retailer_id": product} for product in products])
        for title, products in given_sections.items()
    ]
