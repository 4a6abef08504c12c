"""Status objects and changes, as Meta writes them; decides nothing."""

import hashlib
import json
from dataclasses import dataclass

from dispatcher.simulator.codes import title_of
from dispatcher.simulator.webhooks.fate import FAILED, SENT
from dispatcher.simulator.webhooks.settings import WebhookSettings

HREF = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Message:
    """What statuses say of the message that was accepted."""

    wamid: str
    number: str
    to: str
    is_user_id: bool = False
    is_template: bool = False
    is_reaction: bool = False
    callback_data: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """One status that is due; `code` is the error's if it is `failed`."""

    message: Message
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


def encode(value: object) -> bytes:
    """JSON in Meta's hand: no spaces, ASCII only, slashes escaped. Who signs anything but the raw bytes is found."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


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
