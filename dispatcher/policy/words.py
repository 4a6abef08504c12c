"""What is kept of Meta's words about a failure: one short line, nobody's number, nobody's token. Pure and total."""

import re

TEXT_BYTES = 40  # of Meta's own words: a longer field would turn a small hash in Redis into a big one
CODE_LIMIT = 10**9  # Graph codes have at most seven digits; more is somebody else's number

# What Meta may quote back and we must not keep: a phone in any notation, a business-scoped user id, a token.
_SECRETS = re.compile(
    r"\+?\d(?:\W{0,3}\d){6,}"
    r"|\b[A-Z]{2}\.(?:ENT\.)?[0-9A-Za-z]+"
    r"|\bEAA\w+"
    r"|(?<=token )\S*\d\S*",
)
# A long word is a token or a wamid (whose letters hide the phone), unless it reads like the name of a field.
_LONG_WORD = re.compile(r"[\w|=+/.-]{20,}", re.ASCII)
_FIELD_NAME = re.compile(r"[a-z_.]+")
_PREFIX = re.compile(r"^\s*\(#\d+\)")
_CODE = re.compile(r"[0-9]{1,9}")


def error(name: str, text: str) -> str:
    """Return `name` and at most 40 bytes of `text`, cleaned."""
    kept = clean(text)
    return f"{name} {kept}" if kept else name


def clean(text: str) -> str:
    """Return at most 40 bytes of `text`: one line, nobody's number, nobody's token."""
    printable = "".join(char if char.isprintable() else " " for char in _PREFIX.sub("", text))
    line = _SECRETS.sub("…", _LONG_WORD.sub(_unless_field, " ".join(printable.split())))
    return line.encode()[:TEXT_BYTES].decode(errors="ignore").strip()


def code(given: object) -> int | None:
    """Return a Graph code that came as a number or as its digits; None for whatever else came."""
    if isinstance(given, str) and _CODE.fullmatch(given):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < CODE_LIMIT:
        return None
    return given


def _unless_field(word: re.Match[str]) -> str:
    return word[0] if _FIELD_NAME.fullmatch(word[0]) else "…"
