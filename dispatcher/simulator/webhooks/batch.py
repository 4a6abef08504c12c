"""Gathers updates into the bodies of webhooks, and signs them; knows no sockets."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.simulator.webhooks.settings import WebhookSettings
from dispatcher.simulator.webhooks.statuses import encode
from dispatcher.simulator.webhooks.timetable import Timetable

# Meta's limit is 3 MB; what surrounds the updates has its share.
LARGEST_BODY = 2_900_000


@dataclass(slots=True)
class Delivery:
    """One webhook on its way: bytes that never change, how many updates it settles, and how often it was tried."""

    body: bytes
    signature: str | None
    update_count: int
    tries: int = 0
    first_s: float = 0.0


class Batch:
    """The updates of one body: statuses by number, and other changes, under the account they belong to."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[str, str, str], list[bytes]] = {}
        self._changes: dict[str, list[bytes]] = {}
        self.size_bytes = 0
        self.update_count = 0

    def add_status(self, place: tuple[str, str, str], status: bytes) -> None:
        """One status; `place` is the account's id, the number's, and the number as people read it."""
        self._statuses.setdefault(place, []).append(status)
        self._count(status)

    def add_change(self, waba_id: str, change: bytes) -> None:
        """One whole entry of `changes`."""
        self._changes.setdefault(waba_id, []).append(change)
        self._count(change)

    def _count(self, update: bytes) -> None:
        self.size_bytes += len(update) + 1
        self.update_count += 1

    def body(self) -> bytes:
        """The body, whole."""
        changes: dict[str, list[bytes]] = {}
        for (waba_id, number, phone), statuses in self._statuses.items():
            changes.setdefault(waba_id, []).append(_change(number, phone, statuses))
        for waba_id, others in self._changes.items():
            changes.setdefault(waba_id, []).extend(others)
        entries = [
            b'{"id":%b,"changes":[%b]}' % (encode(waba_id), b",".join(inner)) for waba_id, inner in changes.items()
        ]
        return b'{"object":"whatsapp_business_account","entry":[%b]}' % b",".join(entries)


class Batches:
    """Closes a batch when it is full, or old enough."""

    def __init__(self, timetable: Timetable, post: Callable[[Batch], None]) -> None:
        self._timetable = timetable
        self._post = post
        self._open: Batch | None = None

    def room(self, settings: WebhookSettings, size_bytes: int) -> Batch:
        """The batch that takes an update of this size; add it at once, then call `added`."""
        if self._open is not None and self._open.size_bytes + size_bytes > LARGEST_BODY:
            self._close(self._open)
        if self._open is None:
            batch = self._open = Batch()
            self._timetable.add(settings.batch_ms / 1000, lambda: self._close(batch))
        return self._open

    def added(self, settings: WebhookSettings) -> None:
        """An update was added."""
        if self._open is not None and self._open.update_count >= settings.batch_most:
            self._close(self._open)

    def clear(self) -> None:
        """Forget what gathers."""
        self._open = None

    def _close(self, batch: Batch) -> None:
        if batch is self._open:
            self._open = None
            self._post(batch)


def deliver(batch: Batch, secret: str | None) -> Delivery:
    """The webhook that a batch becomes."""
    body = batch.body()
    signature = None if secret is None else hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Delivery(body, signature, batch.update_count)


def _change(number: str, phone: str, statuses: list[bytes]) -> bytes:
    return (
        b'{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":%b,"phone_number_id":%b},'
        b'"statuses":[%b]},"field":"messages"}'
    ) % (encode(phone), encode(number), b",".join(statuses))
