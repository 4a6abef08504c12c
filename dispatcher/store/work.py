"""What a worker asks of a cell: take numbers, claim messages, settle them, give back, and keep the books in order."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dispatcher.policy.bucket import Bucket, Room
from dispatcher.store.schema import DOOR_SILENT_S, PROCESS_ALIVE_S, US, Cell
from dispatcher.store.scripts import Argument, Command, Steps, call

if TYPE_CHECKING:
    from dispatcher.settings import Number

SETTLED_A_CALL = 100
EXAMINED_A_TAKE = 100
# So that neither a process nor Redis stands still for longer than two milliseconds.
ANNOUNCED_A_CALL = 500
WOKEN_A_CALL = 500
TENDED_A_CALL = 200


@dataclass(slots=True)
class Claimed:
    """A message in our hands: `claim` counts its claims, `due_at_us` is when it was first due, by Redis's clock."""

    key: str
    claim: int
    priority: int
    recipient: str
    fingerprint: str
    due_at_us: int
    attempts: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What a claim brought; `streak` counts the closings in a row of the number's gate, `wait_s` till the next look.

    `bucket` is what the gate allows all processes together.
    `state` is `kept`, `released` (the number is nobody's now) or `lost` (it is somebody else's).
    """

    state: str
    wait_s: float
    streak: int
    claimed_at_us: int
    expired: int
    cancelled: int
    lost: int
    parked: int
    suppressed: int
    bucket: Bucket
    messages: list[Claimed]


class Settlement(NamedTuple):
    """What became of a claimed message and what that means for its number's gate: an entry of `settle.lua`.

    `outcome` and `gate` are words of that script; times are µs, `claimed_us` by Redis's clock.
    """

    key: str
    claim: int
    outcome: str
    number: str
    priority: int
    recipient: str
    fingerprint: str
    claimed_us: int
    value: str | int = ""
    error: str = ""
    gate: str = ""
    gate_for_us: int = 0
    why: str = ""
    credential: str = ""


class Tended(NamedTuple):
    """What a step of upkeep did: 1 if there is more to do now, 1 if the process is `unknown`, then messages by fate."""

    more: int
    unknown: int
    uncertain: int
    lapsed: int
    expired: int
    held: int
    lost: int


class Decided(NamedTuple):
    """What was decided about uncertain messages: 1 if there is more to do now, then messages.

    `absent` were proved not accepted and go again, `unproven` go again without proof, `later` are looked at again.
    """

    more: int
    absent: int
    unproven: int
    held: int
    exhausted: int
    cancelled: int
    later: int


class _Fingerprint(NamedTuple):
    number: str
    fingerprint: str


class _NumberEntry(NamedTuple):
    number: str


def announce(cell: Cell, process: str, credentials: Mapping[str, str]) -> Steps[None]:
    """Say for which numbers the process has a token, and its fingerprint; holds until it falls silent.

    Said part by part, and valid with the last; a process must not say two things at the same time.
    """
    serves = cell.serves(process)
    items = list(itertools.starmap(_Fingerprint, credentials.items()))
    for at in range(0, max(1, len(items)), ANNOUNCED_A_CALL):
        args: dict[str, Argument] = {
            "process": process,
            "alive_ms": PROCESS_ALIVE_S * 1000,
            "first": "1" if at == 0 else "",
            "last": "1" if at + ANNOUNCED_A_CALL >= len(items) else "",
        }
        keys = {"serves": serves, "next": f"{serves}:next"}
        yield call(cell, "work/announce", int, keys=keys, args=args, entries=items[at : at + ANNOUNCED_A_CALL])


def take(cell: Cell, owner: str, passed_by: int = 0) -> Command[tuple[int, list[str]]]:
    """Become the owner of numbers whose time has come; how many were examined, and those taken."""
    args: dict[str, Argument] = {"owner": owner, "most": EXAMINED_A_TAKE, "passed_by": passed_by}
    return call(cell, "work/take", _taken, keys={"serves": cell.serves(owner)}, args=args)


def claim(cell: Cell, number: "Number", owner: str, sequence: int, room: Room) -> Command[Batch]:
    """Move what may be sent now to `sending`; the same owner and sequence get the same batch again."""
    urgent, normal, bulk = cell.lanes(number.id)
    keys = {
        "gate": cell.gate(number.id),
        "urgent": urgent,
        "normal": normal,
        "bulk": bulk,
        "batch": cell.key(f"batch:{number.id}:{owner}"),
    }
    args: dict[str, Argument] = {
        "number": number.id,
        "owner": owner,
        "sequence": sequence,
        "rate": number.rate_per_s,
        "room_urgent": room.urgent,
        "room_normal": room.normal,
        "room_bulk": room.bulk,
        "waba": number.waba_id or "",
        "credential": number.token_fingerprint,
    }
    return call(cell, "work/claim", _batch, keys=keys, args=args, reads=(_ClaimReply, _ClaimedRow))


def settle(cell: Cell, settlements: Sequence[Settlement]) -> Command[list[str]]:
    """Settle a batch; what each message is now, `duplicate`, or an empty word where nothing changed."""
    return call(cell, "work/settle", lambda reply: [word.decode() for word in reply], entries=settlements)


def release(cell: Cell, owner: str, numbers: Iterable[str]) -> Command[int]:
    """Give numbers back; how many were still ours."""
    return call(cell, "work/release", int, args={"owner": owner}, entries=(_NumberEntry(number) for number in numbers))


def wake(cell: Cell, numbers: Sequence[str]) -> Steps[None]:
    """Make numbers due now, because what held them back has gone."""
    for at in range(0, len(numbers), WOKEN_A_CALL):
        part = numbers[at : at + WOKEN_A_CALL]
        yield call(cell, "work/wake", int, entries=(_NumberEntry(number) for number in part))


def tend(cell: Cell, process: str) -> Command[Tended]:
    """Do a step of upkeep, and say that this process is alive."""
    args: dict[str, Argument] = {"process": process, "alive_ms": PROCESS_ALIVE_S * 1000, "most": TENDED_A_CALL}
    return call(cell, "work/tend", Tended._make, keys={"serves": cell.serves(process)}, args=args, reads=(Tended,))


def decide(cell: Cell) -> Command[Decided]:
    """Decide about uncertain messages whose window has passed, a step of them."""
    args: dict[str, Argument] = {"most": TENDED_A_CALL, "silent_us": DOOR_SILENT_S * US}
    return call(cell, "work/decide", Decided._make, args=args, reads=(Decided,))


class _ClaimedRow(NamedTuple):
    key: bytes
    claim: bytes
    priority: bytes
    recipient: bytes
    fingerprint: bytes
    due_us: bytes
    attempts: bytes
    body: bytes


class _ClaimReply(NamedTuple):
    state: bytes
    wait_us: bytes
    streak: int
    now_us: bytes
    expired: int
    cancelled: int
    lost: int
    parked: int
    suppressed: int
    rate: bytes
    bucket: bytes
    refill: bytes
    messages: list[list[bytes]]


def _taken(reply: list[Any]) -> tuple[int, list[str]]:
    examined, numbers = reply
    return examined, [number.decode() for number in numbers]


def _batch(reply: list[Any]) -> Batch:
    found = _ClaimReply._make(reply)
    return Batch(
        state=found.state.decode(),
        wait_s=int(found.wait_us) / US,
        streak=int(found.streak),
        claimed_at_us=int(found.now_us),
        expired=found.expired,
        cancelled=found.cancelled,
        lost=found.lost,
        parked=found.parked,
        suppressed=found.suppressed,
        bucket=Bucket(float(found.rate), float(found.bucket), float(found.refill)),
        messages=[_claimed(_ClaimedRow._make(row)) for row in found.messages],
    )


def _claimed(row: _ClaimedRow) -> Claimed:
    return Claimed(
        row.key.decode(),
        int(row.claim),
        int(row.priority),
        row.recipient.decode(errors="replace"),
        row.fingerprint.decode(errors="replace"),
        int(row.due_us),
        int(row.attempts),
        row.body,
    )
