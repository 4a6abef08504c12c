"""Stops: rows that say what must not be sent now. Operators write them, the claim reads them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dispatcher import errors
from dispatcher.policy import scope as scopes
from dispatcher.policy.scope import Scope
from dispatcher.store import work
from dispatcher.store.queue import moment, read_object
from dispatcher.store.schema import US, Cell
from dispatcher.store.scripts import Command, Steps, call, plain

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


class Unparked(NamedTuple):
    """What a step of moving parked messages did; `more` is 1 if there is more to move now."""

    moved: int
    cancelled: int
    lost: int
    more: int


def add(cell: Cell, stop: Stop) -> Command[int]:
    """Put a stop into force; one that stands for the same scope is replaced.

    Raises:
        Refused: the scope or the action is none.
    """
    if stop.action not in {"hold", "cancel"}:
        raise errors.Refused("action", f'must be "hold" or "cancel", given "{stop.action}"')
    scope = scopes.parse(stop.scope)
    until = round(stop.until.timestamp() * US) if stop.until else 0
    row = json.dumps({"action": stop.action, "reason": stop.reason, "by": stop.by, "until": until})
    return call(cell, "stops/stop", int, args={"scope": str(scope), "row": row})


def all_(cell: Cell) -> Command[list[Stop]]:
    """List the stops by scope, also those whose time has run out."""
    return plain("HGETALL", cell.key("stops"), parse=read)


def lift(cell: Cell, scope: str, numbers: Sequence[str]) -> Steps[bool]:
    """Take a stop away and wake the numbers it held, of those given; False if there was none."""
    lifted = yield plain("HDEL", cell.key("stops"), str(Scope.of(scope)), parse=bool)
    yield from work.wake(cell, numbers)
    while (yield unpark(cell)).more:
        pass
    return bool(lifted)


def unpark(cell: Cell) -> Command[Unparked]:
    """Move a step of messages back whose stop was lifted."""
    return call(cell, "stops/unpark", Unparked._make, args={"most": _MOVED_A_CALL}, reads=(Unparked,))


def read(reply: Sequence[bytes]) -> list[Stop]:
    """Read the rows of stops, by scope."""
    rows = sorted(zip(reply[::2], reply[1::2], strict=True))
    return [_stop(scope.decode(errors="replace"), row) for scope, row in rows]


def _stop(scope: str, row: bytes) -> Stop:
    """Read a row; one that cannot be read holds, as the scripts see it."""
    found = read_object(row)
    action = "cancel" if found.get("action") == "cancel" else "hold"
    reason = str(found.get("reason", "" if found else "unreadable"))
    return Stop(scope, action, reason, str(found.get("by", "")), moment(found.get("since")), moment(found.get("until")))
