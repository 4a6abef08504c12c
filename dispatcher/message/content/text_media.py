"""The kinds `text` and `reaction`, and those of media: what to show is uploaded (`id`) or fetched by Meta (`link`).

Meta keeps what it fetched for ten minutes by its address. Sizes and formats are checked by Meta alone.
"""

# ruff: noqa: A002 - `id` is what Meta calls it

from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.shape import Check, Checks, exactly_one, flag, forbidden, link, record, text

BODY_CHARACTERS_MAX = 4096

TEXT = record({"body": text(BODY_CHARACTERS_MAX)}, {"preview_url": flag})


class Text(Content):
    """A text; with `preview_url` its first link gets a preview."""

    def __init__(self, body: str, *, preview_url: bool | None = None, reply_to: str | None = None) -> None:
        super().__init__("text", filled(body=body, preview_url=preview_url), TEXT, reply_to)


REACTION = record({"message_id": text(), "emoji": text(least=0)})


class Reaction(Content):
    """An emoji on the message with this wamid, at most 30 days old and no reaction itself; "" takes it back."""

    def __init__(self, message_id: str, emoji: str) -> None:
        super().__init__("reaction", {"message_id": message_id, "emoji": emoji}, REACTION)


CAPTION_CHARACTERS_MAX = 1024


def _media(others: Checks) -> Check:
    return record({}, {"id": text(), "link": link, **others}, exactly_one("id", "link"))


_CAPTION = text(CAPTION_CHARACTERS_MAX, least=0)
_NO_CAPTION = forbidden("has no place here: only image, video and document have a caption")
_NO_FILENAME = forbidden("has no place here: only a document has a filename")

IMAGE = VIDEO = _media({"caption": _CAPTION, "filename": _NO_FILENAME})
AUDIO = _media({"voice": flag, "caption": _NO_CAPTION, "filename": _NO_FILENAME})
DOCUMENT = _media({"caption": _CAPTION, "filename": text()})
STICKER = _media({"caption": _NO_CAPTION, "filename": _NO_FILENAME})


class Image(Content):
    """A picture: JPEG or PNG, at most 5 MB."""

    def __init__(
        self, *, id: str | None = None, link: str | None = None, caption: str | None = None, reply_to: str | None = None
    ) -> None:
        super().__init__("image", filled(id=id, link=link, caption=caption), IMAGE, reply_to)


class Video(Content):
    """A film: MP4 or 3GP with H.264 and AAC, at most 16 MB."""

    def __init__(
        self, *, id: str | None = None, link: str | None = None, caption: str | None = None, reply_to: str | None = None
    ) -> None:
        super().__init__("video", filled(id=id, link=link, caption=caption), VIDEO, reply_to)


class Audio(Content):
    """A sound, at most 16 MB; with `voice` it is shown as a voice message, for which it must be Ogg with Opus."""

    def __init__(
        self, *, id: str | None = None, link: str | None = None, voice: bool | None = None, reply_to: str | None = None
    ) -> None:
        super().__init__("audio", filled(id=id, link=link, voice=voice), AUDIO, reply_to)


class Document(Content):
    """A file: text, PDF or office, at most 100 MB; its name's ending decides how it is shown."""

    def __init__(
        self,
        *,
        id: str | None = None,
        link: str | None = None,
        caption: str | None = None,
        filename: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        super().__init__("document", filled(id=id, link=link, caption=caption, filename=filename), DOCUMENT, reply_to)


class Sticker(Content):
    """A sticker: WebP, at most 100 KB, or 500 KB if it moves."""

    def __init__(self, *, id: str | None = None, link: str | None = None, reply_to: str | None = None) -> None:
        super().__init__("sticker", filled(id=id, link=link), STICKER, reply_to)
