"""How campaigns stand, by the counts that the scripts keep. Bounded work, whatever a campaign has messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dispatcher.store.health import server_time
from dispatcher.store.schema import US, Cell
from dispatcher.store.scripts import Argument, Command, Steps, call, plain

KEPT_S: Final = 30 * 86_400
"""How long counts stay after the last activity; `lua/shared/message.lua` says the same of the hash."""
SETTLED: Final = ("accepted", "expired", "cancelled", "suppressed", "dead")
CAMPAIGNS_MAX: Final = 10_000
_EXAMINED_MAX: Final = 200
_ENDED_SHOWN_S: Final = 600
_FORGOTTEN_A_CALL: Final = 500
_CALLS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class CampaignStanding:
    """Messages of a campaign: those not settled yet, and those that are, by state."""

    name: str
    unsettled: int
    settled: Mapping[str, int]


def running(cell: Cell, most: int) -> Steps[list[CampaignStanding]]:
    """Return those with most unsettled messages, and after them those that ended in the last ten minutes.

    Of a cell with more than 200 campaigns only the 200 with the latest activity are looked at.
    """
    rows = yield plain("ZREVRANGE", cell.key("campaigns"), 0, _EXAMINED_MAX - 1, "WITHSCORES", parse=list, default=[])
    active = {name: float(at) / US for name, at in zip(rows[::2], rows[1::2], strict=True)}
    counts = yield [_counts(cell.key("campaign:").encode() + name) for name in active]
    ended_since = (yield server_time()) / US - _ENDED_SHOWN_S
    found = [(_standing(name, each), at) for (name, at), each in zip(active.items(), counts, strict=True)]
    shown = [(each, at) for each, at in found if each.unsettled or at > ended_since]
    shown.sort(key=lambda pair: (-pair[0].unsettled, -pair[1]))
    return [each for each, _ in shown[:most]]


def forget(cell: Cell) -> Steps[None]:
    """Drop the counts of campaigns that nothing has happened in for long, and of the oldest of too many."""
    args: dict[str, Argument] = {
        "kept_us": round(KEPT_S * US),
        "campaigns_most": CAMPAIGNS_MAX,
        "most": _FORGOTTEN_A_CALL,
    }
    for _ in range(_CALLS_MAX):
        if not (yield call(cell, "campaigns/forget", int, args=args)):
            return


def _standing(name: bytes, counts: Mapping[str, int]) -> CampaignStanding:
    settled = {state: counts.get(state, 0) for state in SETTLED}
    # what was settled after its counts were forgotten was not queued in them
    unsettled = max(0, counts.get("queued", 0) - sum(settled.values()))
    return CampaignStanding(name.decode(errors="replace"), unsettled, settled)


def _counts(key: bytes) -> Command[dict[str, int]]:
    def parse(flat: list[bytes]) -> dict[str, int]:
        return {name.decode(errors="replace"): _count(n) for name, n in zip(flat[::2], flat[1::2], strict=True)}

    return plain("HGETALL", key, parse=parse, default={})


def _count(value: bytes) -> int:
    try:
        return max(0, int(value))
    except ValueError:
        return 0
