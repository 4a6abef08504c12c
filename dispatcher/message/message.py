"""The message a producer sends: its fields, key, fingerprint, body and labels. Knows neither Redis nor clock."""

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

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
from pydantic_core import to_json

from dispatcher import errors
from dispatcher.message import content as contents
from dispatcher.message import fields, recipient, refusal
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
    "template_label",
]

LABEL_BYTES_MAX = 64
"""A longer field turns a small Redis hash into one of several times its size (`hash-max-listpack-value`)."""


def _lane(info: ValidationInfo) -> LaneDefaults:
    """Return the defaults of the message's lane; any lane's, where the priority itself was refused."""
    return LANE_DEFAULTS[info.data.get("priority", Priority.NORMAL)]


def _priority(given: object) -> Priority:
    return fields.word(Priority, given, Priority.NORMAL)


def _category(given: object, info: ValidationInfo) -> Category:
    return fields.word(Category, given, _lane(info).category)


def _on_uncertain(given: object, info: ValidationInfo) -> OnUncertain:
    return fields.word(OnUncertain, given, _lane(info).on_uncertain)


def _expires_at(given: object, info: ValidationInfo) -> datetime | None:
    expires_at = fields.moment(given)
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
    return fields.ttl_s(given)


def _replaces(given: object, info: ValidationInfo) -> str | None:
    older = fields.key(given)
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

    number: Annotated[str, PlainValidator(fields.number)]
    # Whoever prints or logs a message must not give away to whom it goes and what it says.
    to: Annotated[str, PlainValidator(fields.to)] = Field(repr=False)
    content: Annotated[dict[str, Any], PlainValidator(contents.read)] = Field(repr=False)
    key: Annotated[str | None, PlainValidator(fields.key)] = None
    priority: Annotated[Priority, BeforeValidator(_priority)] = Priority.NORMAL
    category: Annotated[Category, BeforeValidator(_category)] = Field(default=None, validate_default=True)
    campaign: Annotated[str | None, PlainValidator(fields.campaign)] = None
    not_before: Annotated[datetime | None, BeforeValidator(fields.moment)] = None
    expires_at: Annotated[datetime | None, BeforeValidator(_expires_at)] = None
    ttl_s: Annotated[float | None, PlainValidator(_ttl_s)] = Field(default=None, validate_default=True)
    callback_data: Annotated[str | None, PlainValidator(fields.callback_data)] = Field(default=None, repr=False)
    on_uncertain: Annotated[OnUncertain, BeforeValidator(_on_uncertain)] = Field(default=None, validate_default=True)
    trace: Annotated[str | None, PlainValidator(fields.trace)] = None
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
            given = refusal.with_number(given)
        try:
            return build(given)
        except ValidationError as exc:
            raise refusal.from_pydantic(exc, given, cls.model_fields) from None


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
