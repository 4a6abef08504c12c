"""What a worker asks of Redis: take, claim, settle, tend and give back, each one script and one typed method."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Self

from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.scripts import script
from dispatcher.store.terms import Terms
from dispatcher.policy.bucket import Bucket, Room

US = 1_000_000
# A process that has said nothing for so long is gone; it speaks once a second.
PROCESS_ALIVE_S = 10
SETTLED_A_CALL = 100
EXAMINED_A_TAKE = 100
# So that neither this process nor Redis stands still for longer than two milliseconds.
SERVED_A_CALL = 500
WOKEN_A_CALL = 500
TENDED_A_CALL = 200
LAPSES = 3
# A webhook door says every second that it is open.
DOOR_SILENT_S = 5


@dataclass(frozen=True, slots=True)
class Leases:
    """How long a number, and a claimed message of each lane, belong to who has them; seconds."""

    number_s: float
    messages_s: tuple[float, float, float]


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


@dataclass(frozen=True, slots=True)
class Asking:
    """Who claims for which number, and what it may take; `rate_per_s` is for a gate that gives no rate."""

    number: str
    owner: str
    sequence: int
    rate_per_s: float
    room: Room
    waba_id: str
    credential: str


@dataclass(slots=True)
class Settlement:
    """What became of a claimed message and what that means for its number's gate, as `settle.lua` reads it."""

    message: Claimed
    number: str
    claimed_at_us: int
    outcome: str
    value: str | int = ""
    error: str = ""
    gate: str = ""
    gate_for_us: int = 0
    why: str = ""
    credential: str = ""
    _arguments: tuple[Argument, ...] | None = None

    def as_arguments(self) -> tuple[Argument, ...]:
        """Fourteen plain values, in the script's order; from the first time on they stay what they are."""
        if self._arguments is None:
            message = self.message
            self._arguments = (
                message.key, message.claim, self.outcome, self.number, message.priority, message.recipient,
                message.fingerprint, self.claimed_at_us, self.value, self.error, self.gate, self.gate_for_us, self.why,
                self.credential,
            )  # fmt: skip
        return self._arguments

    @classmethod
    def of(cls, arguments: tuple[Any, ...]) -> Self:
        """Make a settlement from its arguments again; of the message only what they say is known."""
        key, claim, outcome, number, priority, recipient, fingerprint, claimed_at_us, *rest = arguments
        message = Claimed(key, claim, priority, recipient, fingerprint, claimed_at_us, 0, b"")
        return cls(message, number, claimed_at_us, outcome, *rest)


@dataclass(frozen=True, slots=True)
class Tended:
    """What a step of upkeep did; `more` says that there is more to do now.

    Of uncertain messages, `absent` were proved not accepted and go again, `unproven` go again without proof.
    """

    more: bool
    forgotten: bool
    uncertain: int
    lapsed: int
    expired: int
    held: int
    lost: int = 0
    absent: int = 0
    unproven: int = 0
    cancelled: int = 0


class Serving:
    """The scripts of a worker process; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys, leases: Leases, terms: Terms | None = None) -> None:
        self._line = line
        self._keys = keys
        self._leases = leases
        self._terms = (terms or Terms()).as_json()

    async def serve(self, process: str, credentials: Mapping[str, str]) -> None:
        """Say for which numbers the process has a token, and its fingerprint; holds until it falls silent.

        Said part by part, and valid with the last; a process must not say two things at the same time.
        """
        keys = (self._keys.serves(process), self._keys("processes"), self._keys.serves(process) + ":next")
        said = iter(credentials.items())
        for at in range(0, max(1, len(credentials)), SERVED_A_CALL):
            is_last = at + SERVED_A_CALL >= len(credentials)
            part = chain(*islice(said, SERVED_A_CALL))
            args = (process, PROCESS_ALIVE_S * 1000, "first" if at == 0 else "", "last" if is_last else "", *part)
            await self._line.call(script("serve"), keys, args)

    async def take(self, process: str, passed_by: int = 0) -> tuple[int, list[str]]:
        """Become the owner of numbers whose time has come; how many were examined, and those taken."""
        args = (self._keys.prefix, process, round(self._leases.number_s * US), EXAMINED_A_TAKE, passed_by)
        reply = await self._line.call(script("take"), (self._keys("due"), self._keys.serves(process)), args)
        return reply[0], [number.decode() for number in reply[1:]]

    async def claim(self, asking: Asking) -> Batch:
        """Move what may be sent now to `sending`; the same owner and sequence get the same batch again."""
        keys = self._keys
        names = (
            keys("due"), keys.gate(asking.number), keys("stops"), keys("sending"), *keys.lanes(asking.number),
            keys.batch(asking.number, asking.owner),
        )  # fmt: skip
        room = asking.room
        args: list[Argument] = [
            keys.prefix, asking.number, asking.owner, asking.sequence, asking.rate_per_s,
            room.urgent, room.normal, room.bulk, round(self._leases.number_s * US),
            *(round(lease_s * US) for lease_s in self._leases.messages_s), asking.waba_id, asking.credential,
            self._terms,
        ]  # fmt: skip
        return _batch(await self._line.call(script("claim"), names, args))

    async def settle(self, settlements: Sequence[Settlement]) -> list[str]:
        """Settle a batch; what each message is now, `duplicate`, or an empty word where nothing changed."""
        args: list[Argument] = [self._keys.prefix, self._terms]
        for settlement in settlements:
            args.extend(settlement.as_arguments())
        keys = (self._keys("due"), self._keys("sending"), self._keys("uncertain"))
        return [word.decode() for word in await self._line.call(script("settle"), keys, args)]

    async def release(self, process: str, numbers: Iterable[str]) -> int:
        """Give numbers back; how many were still ours."""
        args = (self._keys.prefix, process, *numbers)
        return int(await self._line.call(script("release"), (self._keys("due"),), args))

    async def wake(self, numbers: Sequence[str]) -> None:
        """Make numbers due now, because what held them back has gone."""
        for at in range(0, len(numbers), WOKEN_A_CALL):
            args = (self._keys.prefix, *numbers[at : at + WOKEN_A_CALL])
            await self._line.call(script("wake"), (self._keys("due"),), args)

    async def tend(self, process: str) -> Tended:
        """Do a step of upkeep, decide about uncertain messages, and say that this process is alive."""
        tended, decided = await asyncio.gather(self._tend(process), self._decide())  # one round trip
        more, forgotten, uncertain, lapsed, expired, held, lost = tended
        more_to_decide, absent, unproven, held_now, cancelled, _ = decided
        return Tended(
            bool(more or more_to_decide), bool(forgotten), uncertain, lapsed, expired, held + held_now, lost, absent,
            unproven, cancelled,
        )  # fmt: skip

    async def _tend(self, process: str) -> list[int]:
        names = ("sending", "uncertain", "expiry", "processes")
        keys = (*(self._keys(name) for name in names), self._keys.serves(process))
        args = (self._keys.prefix, self._terms, process, PROCESS_ALIVE_S * 1000, TENDED_A_CALL, LAPSES)
        return list(await self._line.call(script("tend"), keys, args))

    async def _decide(self) -> list[int]:
        keys = tuple(self._keys(name) for name in ("uncertain", "door", "webhooks", "held"))
        args = (self._keys.prefix, self._terms, TENDED_A_CALL, round(DOOR_SILENT_S * US))
        return list(await self._line.call(script("decide"), keys, args))


_HEAD = 12
_FIELDS = 8


def _batch(reply: list[Any]) -> Batch:
    state, wait_us, streak, now_us, expired, cancelled, lost, parked, suppressed, *bucket = reply[:_HEAD]
    messages = []
    for at in range(_HEAD, len(reply), _FIELDS):
        key, claim, priority, recipient, fingerprint, due, attempts, body = reply[at : at + _FIELDS]
        messages.append(
            Claimed(
                key.decode(),
                int(claim),
                int(priority),
                recipient.decode(errors="replace"),
                fingerprint.decode(errors="replace"),
                int(due),
                int(attempts),
                body,
            )
        )
    return Batch(
        state.decode(),
        int(wait_us) / US,
        int(streak),
        int(now_us),
        expired,
        cancelled,
        lost,
        parked,
        suppressed,
        Bucket(*map(float, bucket)),
        messages,
    )
