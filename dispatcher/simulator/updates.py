"""What webhooks carry, as Meta writes it: statuses of messages, which and when, and what people send to a number."""

import hashlib
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from dispatcher.simulator.answers import wamid_of
from dispatcher.simulator.codes import title_of
from dispatcher.simulator.settings import WebhookSettings

SENT = "sent"
DELIVERED = "delivered"
READ = "read"
FAILED = "failed"
HREF = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"
DAY_S = 86_400


def encode(value: object) -> bytes:
    """JSON in Meta's hand: no spaces, ASCII only, slashes escaped. Who signs anything but the raw bytes is found."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


# Statuses: which there will be.


class PlannedStatus(NamedTuple):
    """One status: how long after the acceptance its webhook is due, and when its timestamp says it happened."""

    kind: str
    due_s: float
    happened_s: float
    is_priced: bool


class StatusPlanner:
    """Draws the statuses of accepted messages. The same seed draws the same for the same messages in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a test that can be repeated, no secret

    def hits(self, share: float) -> bool:
        """Whether this one is among the share."""
        return share > 0 and self._random.random() < share

    def plan(self, settings: WebhookSettings, *, is_reaction: bool) -> list[PlannedStatus]:
        """All statuses of a message, in the order in which their webhooks are due."""
        kinds = self._kinds(settings, is_reaction=is_reaction)
        at_s, dues_s = 0.0, []
        for kind in kinds:
            at_s = max(at_s, self._delay_s(settings, kind))
            dues_s.append(at_s)
        priced = {SENT, self._random.choice(kinds[1:])} if kinds[1:] else {SENT}
        places = list(range(len(kinds)))
        if settings.is_shuffled:
            self._random.shuffle(places)
        stamps_s = _stamps_s(dues_s, places)
        return [
            PlannedStatus(kinds[place], due_s, stamps_s[place], kinds[place] in priced and kinds[place] != FAILED)
            for place, due_s in zip(places, dues_s, strict=True)
        ]

    def plan_failure(self, settings: WebhookSettings) -> PlannedStatus:
        """The one status of a message that was held and then dropped."""
        delay_s = self._delay_s(settings, FAILED)
        return PlannedStatus(FAILED, delay_s, delay_s, is_priced=False)

    def is_lost(self, settings: WebhookSettings, kind: str) -> bool:
        """Whether this status is never sent."""
        return self.hits(getattr(settings, f"lost_{kind}"))

    def _kinds(self, settings: WebhookSettings, *, is_reaction: bool) -> list[str]:
        if self.hits(settings.failed):
            return [SENT, FAILED] if settings.is_sent_before_failed else [FAILED]
        if is_reaction:
            return [SENT]
        return [SENT, DELIVERED, READ] if self.hits(settings.read) else [SENT, DELIVERED]

    def _delay_s(self, settings: WebhookSettings, kind: str) -> float:
        base_ms: float = getattr(settings, f"{kind}_ms")
        jitter_ms = self._random.random() * settings.jitter_ms if settings.jitter_ms else 0.0
        return (base_ms + jitter_ms) / 1000


def _stamps_s(happened_s: list[float], places: list[int]) -> list[float]:
    """When each status happened: never after its webhook, never after the status that follows it."""
    stamps_s = list(happened_s)
    for due_s, place in zip(happened_s, places, strict=True):
        stamps_s[place] = min(stamps_s[place], due_s)
    for later, earlier in pairwise(reversed(range(len(stamps_s)))):
        stamps_s[earlier] = min(stamps_s[earlier], stamps_s[later])
    return stamps_s


# Statuses: what they say.


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """What statuses say of the message that was accepted."""

    wamid: str
    number: str
    to: str
    is_user_id: bool = False
    is_template: bool = False
    is_reaction: bool = False
    callback_data: str = ""


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One status that is due; `code` is the error's if it is `failed`."""

    message: AcceptedMessage
    kind: str
    happened_at: int
    is_priced: bool
    code: int = 0

    def render(self, settings: WebhookSettings) -> bytes:
        """The object in `statuses`."""
        message = self.message
        status: dict[str, object] = {"id": message.wamid, "status": self.kind, "timestamp": str(self.happened_at)}
        if message.is_user_id:
            status["recipient_user_id"] = message.to
        elif settings.has_recipient_id:
            status["recipient_id"] = message.to.removeprefix("+")
        if message.callback_data:
            status["biz_opaque_callback_data"] = message.callback_data
        if self.is_priced:
            category = settings.template_category if message.is_template else "service"
            if settings.has_conversation:
                status["conversation"] = self._conversation(category)
            status["pricing"] = _pricing(category, is_free=not message.is_template)
        if self.kind == FAILED:
            status["errors"] = [_error(self.code)]
        return encode(status)

    def _conversation(self, category: str) -> dict[str, object]:
        name = f"{self.message.number} {self.message.to} {category}".encode()
        conversation: dict[str, object] = {"id": hashlib.sha256(name).hexdigest()[:32]}
        if self.kind == SENT:
            conversation["expiration_timestamp"] = str(self.happened_at + DAY_S)
        conversation["origin"] = {"type": category}
        return conversation


def _pricing(category: str, *, is_free: bool) -> dict[str, object]:
    return {
        "billable": not is_free,
        "pricing_model": "PMP",
        "category": category,
        "type": "free_customer_service" if is_free else "regular",
    }


def _error(code: int) -> dict[str, object]:
    title = title_of(code)
    return {"code": code, "title": title, "message": title, "error_data": {"details": title}, "href": HREF}


# What people send, as entries of `changes`.

Change = dict[str, Any]

PREFERENCES = {
    "stop": "User requested to stop marketing messages",
    "resume": "User requested to resume marketing messages",
}
PROFILE = {"name": "Sheena Nelson"}


def inbound_text(place: tuple[str, str], person: str, body: str, at: int) -> Change:
    """A text message; `place` is the number's id, and the number as people read it."""
    person = person.removeprefix("+")
    wamid = wamid_of(person, f"3A{secrets.token_hex(9).upper()}", is_inbound=True)
    message = {"from": person, "id": wamid, "timestamp": str(at), "type": "text", "text": {"body": body}}
    return _change("messages", place, {"contacts": [{"profile": PROFILE, "wa_id": person}], "messages": [message]})


def inbound_preference(place: tuple[str, str], person: str, value: str, at: int) -> Change:
    """A user stops or resumes marketing messages.

    Raises:
        ValueError: The value is neither `stop` nor `resume`.
    """
    if value not in PREFERENCES:
        raise ValueError(f"a preference is stop or resume, not {value!r}")
    person = person.removeprefix("+")
    # A number here, unlike in all other webhooks: Meta's papers write it without quotes.
    wish = {
        "wa_id": person,
        "detail": PREFERENCES[value],
        "category": "marketing_messages",
        "value": value,
        "timestamp": at,
    }
    contacts = [{"profile": PROFILE, "wa_id": person}]
    return _change("user_preferences", place, {"contacts": contacts, "user_preferences": [wish]})


def throughput_of(change: Mapping[str, Any]) -> tuple[str, int]:
    """Whose throughput a change uses up, and for how many messages; statuses and other fields use none.

    Raises:
        TypeError: It has not the shape of a change.
    """
    value = change.get("value")
    if not isinstance(change.get("field"), str) or not isinstance(value, dict):
        raise TypeError("a change has a field, which is a string, and a value, which is an object")
    messages = value.get("messages")
    metadata = value.get("metadata")
    number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    if change["field"] != "messages" or not isinstance(messages, list) or not isinstance(number, str):
        return "", 0
    return number, len(messages)


def _change(field: str, place: tuple[str, str], more: dict[str, Any]) -> Change:
    metadata = {"display_phone_number": place[1], "phone_number_id": place[0]}
    return {"value": {"messaging_product": "whatsapp", "metadata": metadata, **more}, "field": field}
