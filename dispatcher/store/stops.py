"""Stops: rows that say what must not be sent now. Operators write them, the claim reads them."""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dispatcher import errors
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line
from dispatcher.store.record import moment, read_object
from dispatcher.store.scripts import script
from dispatcher.store.terms import Terms
from dispatcher.message.message import label

_SCOPES = {
    "all": re.compile(r"all"),
    "number": re.compile(r"number:\d+"),
    "lane": re.compile(r"lane:\d+:(urgent|normal|bulk)"),
    "waba": re.compile(r"waba:\d+"),
    "credential": re.compile(r"credential:[0-9a-f]+"),
    "template": re.compile(r"template:\d*:[^\s]+"),
    "campaign": re.compile(r"campaign:[^\s]+"),
}
_FORMS = (
    "all, number:<id>, lane:<id>:<priority>, waba:<id>, credential:<fingerprint>, template:<waba>:<name>, "
    "campaign:<name>"
)
_WOKEN_A_CALL = 200
_MOVED_A_CALL = 200


@dataclass(frozen=True, slots=True)
class Stop:
    """What is stopped, how and why; `until` None means until it is lifted."""

    scope: str
    action: str
    reason: str
    by: str
    since: datetime | None = None
    until: datetime | None = None


class Stops:
    """Adds, lists and lifts stops; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, terms: Terms | None = None) -> None:
        self._line = line
        self._keys = keys
        self._terms = (terms or Terms()).as_json()

    async def add(self, stop: Stop) -> None:
        """Put a stop into force; one that stands for the same scope is replaced.

        Raises:
            Refused: the scope or the action is none.
        """
        check(stop)
        until = round(stop.until.timestamp() * 1_000_000) if stop.until else 0
        row = json.dumps({"action": stop.action, "reason": stop.reason, "by": stop.by, "until": until})
        await self._line.call(script("stop"), (self._keys("stops"),), (as_kept(stop.scope), row))

    async def all(self) -> list[Stop]:
        """List the stops by scope, also those whose time has run out."""
        raw = await self._line.command("HGETALL", self._keys("stops"))
        rows = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        return [_stop(scope.decode(errors="replace"), row) for scope, row in sorted(rows.items())]

    async def lift(self, scope: str, numbers: Sequence[str]) -> bool:
        """Take a stop away and wake the numbers it held, of those given; False if there was none."""
        lifted = bool(await self._line.command("HDEL", self._keys("stops"), as_kept(scope)))
        for at in range(0, len(numbers), _WOKEN_A_CALL):
            args = (self._keys.prefix, *numbers[at : at + _WOKEN_A_CALL])
            await self._line.call(script("wake"), (self._keys("due"),), args)
        while await self.unpark():
            pass
        return lifted

    async def unpark(self) -> bool:
        """Move a step of messages back whose stop was lifted; whether there is more to move now."""
        keys = (self._keys("parked"), self._keys("stops"))
        reply = await self._line.call(script("unpark"), keys, (self._keys.prefix, self._terms, _MOVED_A_CALL))
        return bool(reply[2])


def as_kept(scope: str) -> str:
    """Return the scope with a long name as messages carry it, so that it meets them."""
    kind, _, named = scope.partition(":")
    if kind == "template":
        waba_id, _, name = named.partition(":")
        return f"template:{waba_id}:{label(name)}"
    return f"campaign:{label(named)}" if kind == "campaign" else scope


def check(stop: Stop) -> None:
    """Refuse a scope or action that is none, naming the nearest.

    Raises:
        Refused: with what would be right.
    """
    if stop.action not in {"hold", "cancel"}:
        raise errors.Refused("action", f'must be "hold" or "cancel", given "{stop.action}"')
    kind = stop.scope.partition(":")[0]
    if kind not in _SCOPES:
        near = difflib.get_close_matches(kind, _SCOPES, n=1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise errors.Refused("scope", f'"{stop.scope}" is none{hint} Scopes are {_FORMS}')
    if not _SCOPES[kind].fullmatch(stop.scope):
        raise errors.Refused("scope", f'"{stop.scope}" is not complete. Scopes are {_FORMS}')


def _stop(scope: str, row: bytes) -> Stop:
    """Read a row; one that cannot be read holds, as the scripts see it."""
    found = read_object(row)
    action = "cancel" if found.get("action") == "cancel" else "hold"
    reason = str(found.get("reason", "" if found else "unreadable"))
    return Stop(scope, action, reason, str(found.get("by", "")), moment(found.get("since")), moment(found.get("until")))
