"""What each Graph error code means, as an answer and as a `failed` receipt: data, with its source beside it. Pure.

Also what is kept of Meta's words about a failure: one short line, nobody's number, nobody's token. Knows no HTTP and no
shapes of JSON; `verdict` does. Sources, by short name:

    codes     developers.facebook.com, WhatsApp Cloud API, "Error codes"
    graph     developers.facebook.com, Graph API, "Rate limiting" and "Handle errors"
    openapi   github.com/facebook/openapi, business-messaging-api v23.0
    platform  developers.facebook.com, WhatsApp, "About the platform" (pair limit)
    design    our own reading: an answer that leaves open whether the message was taken

Meta asks to branch on the code and not on title, subcode or HTTP status: 429 and 400 both come with limits.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

PAIR_WAIT_S = 6.0  # one message per six seconds from a number to one recipient (platform)


class Rule(Enum):
    """What follows from a code."""

    PAIR = auto()
    """This recipient has had too much from this number: the message waits, the gate is untouched."""
    THROTTLED = auto()
    """The number, the account or the app has done too much: the message waits, the gate closes."""
    CREDENTIAL = auto()
    """About the token, its rights or the account: the message stays as it was, the gate closes."""
    UNCERTAIN = auto()
    """Whatever the HTTP status, the message may have been taken."""
    REJECTED = auto()
    """About this message: refused for good. With a 5xx it proves nothing, and the answer is uncertain."""


@dataclass(frozen=True, slots=True)
class Row:
    """One code, or all from `code` to `last`, what follows, and who says so."""

    code: int
    rule: Rule
    source: str
    meaning: str
    last: int | None = None

    @property
    def label(self) -> str:
        """Return the row's name in metrics."""
        return str(self.code) if self.last is None else f"{self.code}-{self.last}"


TABLE: tuple[Row, ...] = (
    Row(131056, Rule.PAIR, "platform", "pair limit"),
    Row(4, Rule.THROTTLED, "codes", "too many calls of the app"),
    Row(17, Rule.THROTTLED, "graph", "user limit"),
    Row(32, Rule.THROTTLED, "graph", "page limit"),
    Row(341, Rule.THROTTLED, "graph", "application limit"),
    Row(613, Rule.THROTTLED, "graph", "custom limit"),
    Row(80007, Rule.THROTTLED, "codes", "limit of the WhatsApp business account"),
    Row(130429, Rule.THROTTLED, "codes", "throughput of the number"),
    Row(131057, Rule.THROTTLED, "codes", "number in maintenance, a minute at most; documented with HTTP 500"),
    Row(0, Rule.CREDENTIAL, "codes", "app user cannot be authenticated"),
    Row(3, Rule.CREDENTIAL, "codes", "capability or permission missing; documented with HTTP 500"),
    Row(10, Rule.CREDENTIAL, "codes", "permission missing or removed"),
    Row(102, Rule.CREDENTIAL, "graph", "session expired"),
    Row(104, Rule.CREDENTIAL, "openapi", "no token"),
    Row(190, Rule.CREDENTIAL, "codes", "token expired or invalid"),
    Row(200, Rule.CREDENTIAL, "codes", "permission missing", last=299),
    Row(368, Rule.CREDENTIAL, "codes", "account blocked for a while, for policy"),
    Row(131031, Rule.CREDENTIAL, "codes", "account locked"),
    Row(1, Rule.UNCERTAIN, "design", "unknown error; documented with 400 and 500"),
    Row(2, Rule.UNCERTAIN, "design", "service down or overloaded"),
    Row(131000, Rule.UNCERTAIN, "design", "unknown failure of the send"),
    Row(131016, Rule.UNCERTAIN, "design", "service overloaded"),
    # Refusals of one message. Named so that a 401, 403 or 429 around them does not close the gate; a code that is
    # named nowhere is refused too, with any other 4xx.
    Row(100, Rule.REJECTED, "codes", "parameter invalid, or object missing"),
    Row(130403, Rule.REJECTED, "codes", "blocked by this user"),
    Row(130472, Rule.REJECTED, "codes", "held out of marketing as an experiment"),
    Row(130497, Rule.REJECTED, "codes", "country not allowed for this account; documented with 403"),
    Row(130501, Rule.REJECTED, "codes", "type not allowed for groups"),
    Row(131008, Rule.REJECTED, "codes", "parameter missing"),
    Row(131009, Rule.REJECTED, "codes", "parameter value invalid"),
    Row(131021, Rule.REJECTED, "codes", "sender is recipient"),
    Row(131026, Rule.REJECTED, "codes", "undeliverable"),
    Row(131030, Rule.REJECTED, "codes", "recipient not on the test number's list"),
    Row(131047, Rule.REJECTED, "codes", "more than 24 hours since the user wrote"),
    Row(131049, Rule.REJECTED, "codes", "cap of marketing messages for this user"),
    Row(131050, Rule.REJECTED, "codes", "user wants no marketing"),
    Row(131051, Rule.REJECTED, "codes", "message type unsupported"),
    Row(131053, Rule.REJECTED, "codes", "media cannot be fetched"),
    Row(131055, Rule.REJECTED, "codes", "method not allowed"),
    Row(131062, Rule.REJECTED, "codes", "user id not possible for this message"),
    Row(132000, Rule.REJECTED, "codes", "template: number of parameters"),
    Row(132001, Rule.REJECTED, "codes", "template: missing in this language"),
    Row(132005, Rule.REJECTED, "codes", "template: text too long"),
    Row(132007, Rule.REJECTED, "codes", "template: content against policy"),
    Row(132012, Rule.REJECTED, "codes", "template: format of a parameter"),
    Row(132015, Rule.REJECTED, "codes", "template paused"),
    Row(132016, Rule.REJECTED, "codes", "template disabled"),
    Row(132018, Rule.REJECTED, "codes", "template: validation"),
    Row(132068, Rule.REJECTED, "codes", "flow blocked"),
    Row(132069, Rule.REJECTED, "codes", "flow throttled"),
    Row(135000, Rule.REJECTED, "codes", "parameters, generic"),
    Row(192, Rule.REJECTED, "codes", "phone number invalid"),
    Row(803, Rule.REJECTED, "openapi", "object missing"),
)

_BY_CODE: dict[int, Row] = {code: row for row in TABLE for code in range(row.code, (row.last or row.code) + 1)}

# Seconds until the next try, which costs an attempt. Only what says nothing against the message or its recipient may go
# again, and only while its body is still there: the id that failed proves that nobody has got it.
_RETRY_AFTER_S: dict[int, float] = {
    1: 30,  # unknown error (design)
    2: 30,  # service down or overloaded (codes)
    131000: 30,  # something went wrong (codes)
    131016: 30,  # service overloaded (codes)
    131057: 60,  # number in maintenance, a minute at most (codes)
    130429: 5,  # throughput of the number (codes)
    131056: 60,  # pair limit: a burst is paid back with six seconds a message (platform)
}

OPTED_OUT = 131050
"""The user wants no more marketing (codes)."""

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


def find(code: int) -> Row | None:
    """Return the row of a Graph error code, or None for a code that this table does not know."""
    return _BY_CODE.get(code)


def retry_after_s(code: int | None) -> float | None:
    """Return after how many seconds a message that failed with `code` may be posted again; None for never."""
    return None if code is None else _RETRY_AFTER_S.get(code)


def error(name: str, text: str) -> str:
    """Return `name` and at most 40 bytes of `text`, cleaned."""
    kept = clean(text)
    return f"{name} {kept}" if kept else name


def clean(text: str) -> str:
    """Return at most 40 bytes of `text`: one line, nobody's number, nobody's token."""
    printable = "".join(char if char.isprintable() else " " for char in _PREFIX.sub("", text))
    line = _SECRETS.sub("…", _LONG_WORD.sub(_unless_field, " ".join(printable.split())))
    return line.encode()[:TEXT_BYTES].decode(errors="ignore").strip()


def code_of(given: object) -> int | None:
    """Return a Graph code that came as a number or as its digits; None for whatever else came."""
    if isinstance(given, str) and _CODE.fullmatch(given):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < CODE_LIMIT:
        return None
    return given


def _unless_field(word: re.Match[str]) -> str:
    return word[0] if _FIELD_NAME.fullmatch(word[0]) else "…"
