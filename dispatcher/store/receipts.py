"""What webhooks bring to Redis: receipts, inbound messages, wishes, news, each kind one script. All may run twice."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.scripts import script
from dispatcher.store.work import US
from dispatcher.store.terms import Terms
from dispatcher.policy import failed
from dispatcher.meta.updates import Inbound, Notice, Preference, Receipt, Unreadable

ASIDE_MOST = 1000
_ASIDE_BYTES = 20_000
_DEFAULT_KEPT_S = 86_400


class Applied(NamedTuple):
    """What a receipt changed: what its message is now, `duplicate`, `foreign`, or an empty word where nothing is new.

    The first that says that a message arrived has its lane and the seconds from acceptance to now, if both are known.
    """

    word: str
    lane: int = 0
    delivered_after_s: float | None = None


class Receiving:
    """The scripts of a process that works off webhooks; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, terms: Terms | None = None) -> None:
        terms = terms or Terms()
        self._line = line
        self._keys = keys
        self._terms = terms.as_json()
        self._kept_ms = round((terms.events_kept_s or _DEFAULT_KEPT_S) * 1000)

    async def receive(self, receipts: Sequence[Receipt]) -> list[Applied]:
        """Apply receipts; what each of them changed."""
        args: list[Argument] = [self._keys.prefix, self._terms]
        for receipt in receipts:
            args.extend(_arguments(receipt))
        reply = await self._line.call(script("receipt"), (self._keys("sending"),), args)
        return [_applied(*found) for found in zip(reply[::3], reply[1::3], reply[2::3], strict=True)]

    async def inbound(self, messages: Sequence[Inbound]) -> int:
        """Pass on what people wrote, and debit their numbers' gates; how many were new."""
        args: list[Argument] = [self._keys.prefix, self._kept_ms]
        for message in messages:
            args += [
                message.number, message.waba, message.wamid, message.sender, message.kind, message.text, message.raw,
            ]  # fmt: skip
        return int(await self._line.call(script("inbound"), (self._keys("inbound"),), args))

    async def prefer(self, preferences: Sequence[Preference]) -> int:
        """Write down who wants no more of what, or wants it again; how many changed anything."""
        args: list[Argument] = [self._keys.prefix]
        for wish in preferences:
            args += [
                wish.number, wish.waba, wish.category, wish.recipient, "stop" if wish.stops else "start", wish.at_s,
                wish.reason,
            ]  # fmt: skip
        return int(await self._line.call(script("prefer"), (self._keys("numbers"),), args))

    async def notice(self, notices: Sequence[Notice]) -> int:
        """Pass on news of templates, qualities and accounts; how many were new."""
        args: list[Argument] = [self._keys.prefix, self._kept_ms]
        for notice in notices:
            args += [notice.field, notice.waba, notice.at_s, notice.raw]
        return int(await self._line.call(script("notice"), (self._keys("updates"),), args))

    async def keep_aside(self, unreadable: Sequence[Unreadable]) -> int:
        """Keep what could not be read for a person; how many there are."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [json.dumps({"at": at, "reason": u.reason, "raw": u.raw[:_ASIDE_BYTES]}) for u in unreadable]
        gap = "1" if any(u.is_receipt for u in unreadable) else "0"
        keys = (self._keys("unreadable"), self._keys("door"))
        return int(await self._line.call(script("aside"), keys, (ASIDE_MOST, gap, *rows)))


def _applied(word: bytes, lane: bytes, after_us: bytes) -> Applied:
    return Applied(word.decode(), int(lane), int(after_us) / US) if after_us else Applied(word.decode())


def _arguments(receipt: Receipt) -> tuple[Argument, ...]:
    after_s = failed.retry_after_s(receipt.code) if receipt.status == "failed" else None
    return (
        receipt.key, receipt.claim, receipt.wamid, receipt.status, receipt.number, receipt.waba, receipt.recipient,
        receipt.error, "" if after_s is None else round(after_s * US), receipt.pricing,
    )  # fmt: skip
