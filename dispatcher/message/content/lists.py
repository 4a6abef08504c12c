"""The interactive type `list`: a button that opens rows to choose from."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from dispatcher.message.content.built import filled
from dispatcher.message.content.frame import TEXT_HEADER, Around, Interactive, body_of, frame
from dispatcher.message.content.sections import sections
from dispatcher.message.content.shape import record, text

BODY_CHARACTERS_MAX = 4096
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
    body=body_of(BODY_CHARACTERS_MAX),
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
        **around: Unpack[Around],
    ) -> None:
        untitled = [{"rows": _rows(rows)}] if rows else []
        titled = [{"title": title, "rows": _rows(inner)} for title, inner in (sections or {}).items()]
        super().__init__("list", {"button": button, "sections": untitled + titled}, body, check=LIST, **around)


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [filled(**dict(zip(("id", "title", "description"), row, strict=False))) for row in rows]
