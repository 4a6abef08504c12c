"""The kind `text`: a body, and whether its first link gets a preview."""

from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.shape import flag, record, text

BODY_CHARACTERS_MAX = 4096

TEXT = record({"body": text(BODY_CHARACTERS_MAX)}, {"preview_url": flag})


class Text(Content):
    """A text; with `preview_url` its first link gets a preview."""

    def __init__(self, body: str, *, preview_url: bool | None = None, reply_to: str | None = None) -> None:
        super().__init__("text", filled(body=body, preview_url=preview_url), TEXT, reply_to)
