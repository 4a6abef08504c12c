"""What webhooks bring to a cell: receipts, inbound messages, preferences, news. All of it may be brought twice."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dispatcher.meta.webhook import Inbound, Notice, Preference, Receipt, Unreadable
from dispatcher.policy import codes
from dispatcher.store.schema import US, Cell
from dispatcher.store.scripts import Argument, Command, call

UNREADABLE_MOST = 1000
_UNREADABLE_BYTES = 20_000


class Applied(NamedTuple):
    """What a receipt changed: what its message is now, `duplicate`, `foreign`, or an empty word where nothing is new.

    The first that says that a message arrived has its lane and the seconds from acceptance to now, if both are known.
    """

    word: str
    lane: int = 0
    delivered_after_s: float | None = None


class _Receipt(NamedTuple):
    key: str
    claim: int
    wamid: str
    status: str
    number: str
    waba: str
    recipient: str
    error: str
    after: Argument
    pricing: str


class _Inbound(NamedTuple):
    number: str
    waba: str
    wamid: str
    sender: str
    kind: str
    text: str
    raw: str


class _Preference(NamedTuple):
    number: str
    waba: str
    category: str
    recipient: str
    wish: str
    at_s: int
    reason: str


class _Notice(NamedTuple):
    field: str
    waba: str
    at_s: int
    raw: str


class _UnreadableRow(NamedTuple):
    row: str


def apply(cell: Cell, receipts: Sequence[Receipt]) -> Command[list[Applied]]:
    """Apply receipts; what each of them changed."""
    return call(cell, "receipts/receipt", _applied, entries=map(_receipt, receipts))


def inbound(cell: Cell, messages: Sequence[Inbound]) -> Command[int]:
    """Pass on what people wrote, and debit their numbers' gates; how many were new."""
    entries = (_Inbound(m.number, m.waba, m.wamid, m.sender, m.kind, m.text, m.raw) for m in messages)
    return call(cell, "receipts/inbound", int, entries=entries)


def prefer(cell: Cell, preferences: Sequence[Preference]) -> Command[int]:
    """Write down who wants no more of what, or wants it again; how many changed anything."""
    entries = (
        _Preference(p.number, p.waba, p.category, p.recipient, "stop" if p.stops else "start", p.at_s, p.reason)
        for p in preferences
    )
    return call(cell, "receipts/prefer", int, entries=entries)


def notice(cell: Cell, notices: Sequence[Notice]) -> Command[int]:
    """Pass on news of templates, qualities and accounts; how many were new."""
    return call(cell, "receipts/notice", int, entries=(_Notice(n.field, n.waba, n.at_s, n.raw) for n in notices))


def keep_unreadable(cell: Cell, unreadable: Sequence[Unreadable]) -> Command[int]:
    """Keep what could not be read for a person; how many there are."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [json.dumps({"at": at, "reason": u.reason, "raw": u.raw[:_UNREADABLE_BYTES]}) for u in unreadable]
    gap = "1" if any(u.is_receipt for u in unreadable) else "0"
    args: dict[str, Argument] = {"most": UNREADABLE_MOST, "gap": gap}
    return call(cell, "receipts/keep_unreadable", int, args=args, entries=map(_UnreadableRow, rows))


def _receipt(receipt: Receipt) -> _Receipt:
    after_s = codes.retry_after_s(receipt.code) if receipt.status == "failed" else None
    return _Receipt(
        key=receipt.key,
        claim=receipt.claim,
        wamid=receipt.wamid,
        status=receipt.status,
        number=receipt.number,
        waba=receipt.waba,
        recipient=receipt.recipient,
        error=receipt.error,
        after="" if after_s is None else round(after_s * US),
        pricing=receipt.pricing,
    )


def _applied(reply: list[Any]) -> list[Applied]:
    return [
        Applied(word.decode(), int(lane), int(after_us) / US) if after_us else Applied(word.decode())
        for word, lane, after_us in reply
    ]
