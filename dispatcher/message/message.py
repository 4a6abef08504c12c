"""The message a producer sends: its fields, key, fingerprint, body and labels. Knows neither Redis nor clock."""

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, to_json

from dispatcher import errors
from dispatcher.message import content as contents
from dispatcher.message import recipient
from dispatcher.message.content.shape import together
from dispatcher.message.priority import DEAD_KEPT_S, LANE_DEFAULTS, Category, LaneDefaults, OnUncertain, Priority
from dispatcher.message.recipient import mask
from dispatcher.message.states import Cause, State

__all__ = [
    "DEAD_KEPT_S",
    "LABEL_BYTES_MAX",
    "LANE_DEFAULTS",
    "Category",
    "Cause",
    "LaneDefaults",
    "Message",
    "OnUncertain",
    "Priority",
    "State",
    "Ticket",
    "body",
    "fingerprint",
    "label",
    "mask",
    "new_key",
    "read_key",
    "read_moment",
    "template_label",
]

LABEL_BYTES_MAX = 64
"""A longer field turns a small Redis hash into one of several times its size (`hash-max-listpack-value`)."""

CALLBACK_DATA_CHARACTERS_MAX = 512
"""As many as Meta's `biz_opaque_callback_data` takes, whose place it has for the producer."""

TTL_S_MAX = 30 * 24 * 3600
"""Seconds: the longest time to live Meta gives a template. What is to go out later takes `not_before`."""

_KEY = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
_CAMPAIGN = re.compile(r"[A-Za-z0-9._:@/+=-]{1,64}")
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros are invalid.
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_Word = TypeVar("_Word", bound=StrEnum)

_NEEDED = {
    "number": "is missing: the phone number id or the name of the number to send from",
    "to": 'is missing: a phone number such as "+15551234567", or a user id',
    "content": 'is missing: an object such as {"type": "text", "text": {"body": "Hello"}}',
}


# Each plain field has a function that returns the value as it is kept, or raises ValueError with a reason that repeats
# what was given; None stands for a field that was left out.


def _read_number(given: object) -> str:
    """Read the number to send from: its phone number id or its name."""
    wanted = 'a phone number id or a name such as "otp-us": a string of 1 to 64 characters from A-Za-z0-9._-'
    return _matching(_NUMBER, given, wanted)


def _read_to(given: object) -> str:
    """Read the recipient; see `recipient.normalise`."""
    if isinstance(given, str):
        return recipient.normalise(given)
    raise ValueError(f'must be a string such as "+15551234567", given {contents.shown(given)}')


def read_key(given: object) -> str | None:
    """Read the idempotency key, which Meta gets back to us with every receipt."""
    wanted = "a string of 1 to 128 characters from A-Za-z0-9._:@/+=-"
    return None if given is None else _matching(_KEY, given, wanted)


def _read_campaign(given: object) -> str | None:
    """Read the campaign, by which messages can be stopped together."""
    wanted = "a string of 1 to 64 characters from A-Za-z0-9._:@/+=-"
    return None if given is None else _matching(_CAMPAIGN, given, wanted)


def _read_trace(given: object) -> str | None:
    """Read the W3C traceparent under which the message was sent."""
    wanted = 'a W3C traceparent such as "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"'
    return None if given is None else _matching(_TRACE, given, wanted)


def _read_word(words: type[_Word], given: object, default: _Word) -> _Word:
    """Read one of a closed set of words."""
    if given is None:
        return default
    try:
        return words(given if isinstance(given, str) else "")
    except ValueError:
        raise ValueError(contents.one_of(words, given)) from None


def read_moment(given: object) -> datetime | None:
    """Read a point in time; it is kept in UTC."""
    if given is None:
        return None
    try:
        at = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
        if at.utcoffset() is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f'must be a time such as "2026-11-22T15:00:00Z", given {contents.shown(given)}') from None
    raise ValueError(f'must say its time zone, as "{at.isoformat()}Z" does for UTC, given {contents.shown(str(given))}')


def _read_ttl_s(given: object) -> float:
    """Read the time to live in seconds."""
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= TTL_S_MAX:
        return float(given)
    wanted = f"a number of seconds above 0, at most {TTL_S_MAX} (30 days)"
    raise ValueError(f"must be {wanted}, given {contents.shown(given)}")


def _read_callback_data(given: object) -> str | None:
    """Read what the producer wants back with every event of the message."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise ValueError(f"must be a string, given {contents.shown(given)}")  # noqa: TRY004 - pydantic lets TypeErrors through
    if len(given) > CALLBACK_DATA_CHARACTERS_MAX:
        raise ValueError(f"must have at most {CALLBACK_DATA_CHARACTERS_MAX} characters, given {len(given)}")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError(f"has half a surrogate pair, which UTF-8 cannot say, given {contents.shown(given)}") from None
    return given


def _matching(form: re.Pattern[str], given: object, wanted: str) -> str:
    if isinstance(given, str) and form.fullmatch(given):
        return given
    raise ValueError(f"must be {wanted}, given {contents.shown(given)}")


def _lane(info: ValidationInfo) -> LaneDefaults:
    """Return the defaults of the message's lane; any lane's, where the priority itself was refused."""
    return LANE_DEFAULTS[info.data.get("priority", Priority.NORMAL)]


def _priority(given: object) -> Priority:
    return _read_word(Priority, given, Priority.NORMAL)


def _category(given: object, info: ValidationInfo) -> Category:
    return _read_word(Category, given, _lane(info).category)


def _on_uncertain(given: object, info: ValidationInfo) -> OnUncertain:
    return _read_word(OnUncertain, given, _lane(info).on_uncertain)


def _expires_at(given: object, info: ValidationInfo) -> datetime | None:
    expires_at = read_moment(given)
    not_before = info.data.get("not_before")
    if expires_at and not_before and expires_at <= not_before:
        raise ValueError(f"must be later than not_before, {not_before.isoformat()}, given {expires_at.isoformat()}")
    return expires_at


def _ttl_s(given: object, info: ValidationInfo) -> float | None:
    has_expiry = info.data.get("expires_at") is not None
    if given is None:
        return None if has_expiry else float(_lane(info).ttl_s)
    if has_expiry:
        raise ValueError("give either ttl_s or expires_at")
    return _read_ttl_s(given)


def _replaces(given: object, info: ValidationInfo) -> str | None:
    older = read_key(given)
    if older is not None and older == info.data.get("key"):
        raise ValueError("must be the key of another message")
    return older


class Message(BaseModel):
    """One send job. Fields that are left out or None take the defaults of the message's lane.

    Times are aware datetimes or ISO 8601 text with a zone, kept in UTC. `ttl_s` is in seconds and counts from the
    enqueue, or from `not_before` if that is later; it is None where `expires_at` was given instead. `content` is a
    copy, its `type` first and without Meta's envelope; nobody may change it. `phone_number_id` is taken as `number`.
    `replaces` names an older message to the same recipient, which is cancelled if it still waits.

    Constructing one, `parse` and pydantic's `model_validate` raise `Refused` with everything that is wrong, and no
    ValidationError. pydantic's `model_copy(update=...)` checks nothing: it is for values already checked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    number: Annotated[str, PlainValidator(_read_number)]
    # Whoever prints or logs a message must not give away to whom it goes and what it says.
    to: Annotated[str, PlainValidator(_read_to)] = Field(repr=False)
    content: Annotated[dict[str, Any], PlainValidator(contents.read)] = Field(repr=False)
    key: Annotated[str | None, PlainValidator(read_key)] = None
    priority: Annotated[Priority, BeforeValidator(_priority)] = Priority.NORMAL
    category: Annotated[Category, BeforeValidator(_category)] = Field(default=None, validate_default=True)
    campaign: Annotated[str | None, PlainValidator(_read_campaign)] = None
    not_before: Annotated[datetime | None, BeforeValidator(read_moment)] = None
    expires_at: Annotated[datetime | None, BeforeValidator(_expires_at)] = None
    ttl_s: Annotated[float | None, PlainValidator(_ttl_s)] = Field(default=None, validate_default=True)
    callback_data: Annotated[str | None, PlainValidator(_read_callback_data)] = Field(default=None, repr=False)
    on_uncertain: Annotated[OnUncertain, BeforeValidator(_on_uncertain)] = Field(default=None, validate_default=True)
    trace: Annotated[str | None, PlainValidator(_read_trace)] = None
    replaces: Annotated[str | None, PlainValidator(_replaces)] = None

    @classmethod
    def parse(cls, given: object, default_key: str | None = None) -> Self:
        """Return the message that `given` describes, a mapping or a message.

        `default_key` becomes the key of a message without one, such as arq's job id; it must be one that holds.

        Raises:
            Refused: something is missing, unknown or wrong; `field` and `reason` name the first, then the others.
        """
        if isinstance(given, cls):
            if given.key or default_key is None:
                return given
            given = given.model_dump()
        if not isinstance(given, Mapping):
            raise errors.Refused("", f"a message must be an object, given {contents.shown(given)}", default_key)
        if default_key is not None and given.get("key") is None:
            given = {**given, "key": default_key}
        return cls.model_validate(dict(given))

    @model_validator(mode="wrap")
    @classmethod
    def _refuse(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        """Turn pydantic's error into ours, wherever a message is built."""
        if isinstance(given, dict) and "phone_number_id" in given:
            given = _with_number(given)
        try:
            return build(given)
        except ValidationError as exc:
            raise _refusal(exc, given, cls.model_fields) from None


def _refusal(exc: ValidationError, given: Any, known: Iterable[str]) -> errors.Refused:
    """Return the refusal of a message that `exc` found wrong; unknown fields first, as they explain missing ones."""
    details = exc.errors(include_url=False, include_input=False)
    details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
    return _refused([problem for detail in details for problem in _problems(detail, tuple(known))], given)


def _refused(problems: list[contents.Problem], given: Any) -> errors.Refused:
    """Return one refusal for all problems: `field` and `reason` of the first, the others behind its reason."""
    return errors.Refused(*together(tuple(problems)), _key_of(given))


def _with_number(given: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a message's fields with `number` in place of `phone_number_id`.

    Raises:
        Refused: both are given.
    """
    if "number" in given:
        raise _refused([contents.Problem("phone_number_id", 'is another name for "number": give one of them')], given)
    copy = dict(given)
    copy["number"] = copy.pop("phone_number_id")
    return copy


def _problems(detail: ErrorDetails, known: tuple[str, ...]) -> Iterator[contents.Problem]:
    field = str(detail["loc"][0]) if detail["loc"] else ""
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, contents.ContentError):
        yield from cause.problems
    elif cause is not None:
        yield contents.Problem(field, str(cause))
    elif detail["type"] == "missing":
        yield contents.Problem(field, _NEEDED[field])
    elif detail["type"] == "extra_forbidden":
        yield contents.Problem(_printable_field(field), f"unknown field{_hint(field, known)}")
    else:
        yield contents.Problem(field, detail["msg"])


def _hint(unknown: str, known: tuple[str, ...]) -> str:
    if unknown in contents.OF_THE_MESSAGE:
        return f', use "{contents.OF_THE_MESSAGE[unknown]}"'
    if unknown in contents.KINDS or unknown in contents.ENVELOPE or unknown in {"type", "context"}:
        return ', it belongs into "content"'
    return contents.nearest(unknown, known)


def _printable_field(name: str) -> str:
    return contents.shown(name)[1:-1]


def _key_of(given: Any) -> str | None:
    """Return the key of a refused message, if it has one that holds."""
    try:
        return read_key(given["key"])
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a producer gets for a message: queued under `key`, or known already, in `state`.

    Where many were sent at once, a refused message is a ticket with its `error` and no state; its key is empty if
    it had none.
    """

    key: str
    state: State | None
    duplicate: bool
    error: errors.DispatcherError | None = None


def new_key() -> str:
    """Return a key of 32 hexadecimal digits: the time in ms, then 80 bits of chance. Later keys sort later."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def body(message: Message) -> bytes:
    """Return the JSON object to POST without its last brace.

    The worker appends `,"biz_opaque_callback_data":"..."}`. A content is never empty and never holds that field.
    """
    field = "recipient" if recipient.is_user_id(message.to) else "to"
    envelope = {"messaging_product": "whatsapp", "recipient_type": "individual", field: message.to}
    return to_json(envelope | message.content)[:-1]


def fingerprint(message: Message) -> str:
    """Return 16 characters that are equal for the same content to the same recipient, however they were written.

    The form may not change between versions: a deploy would refuse the retries of what was sent before it.
    """
    canonical = json.dumps([message.to, message.content], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return base64.urlsafe_b64encode(hashlib.blake2b(canonical.encode(), digest_size=12).digest()).decode()


def label(text: str) -> str:
    """Return the text if it has at most 64 bytes in UTF-8, else its beginning, `~` and 20 digits of its hash."""
    encoded = text.encode()
    if len(encoded) <= LABEL_BYTES_MAX:
        return text
    return f"{encoded[:43].decode(errors='ignore')}~{hashlib.blake2b(encoded, digest_size=10).hexdigest()}"


def template_label(content: Mapping[str, Any]) -> str | None:
    """Return the label of the template that a message's content names; None for other kinds."""
    return label(content["template"]["name"]) if content["type"] == "template" else None
