"""What this process has in flight, the outcomes of its last minute, and how Redis is told of them.

A Redis that lost its last second may hand out again what we posted already. What is written down here is told to it
again after every reconnect, before anything is claimed, and whatever is claimed is looked up here before it is posted.
"""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from dispatcher import errors
from dispatcher.policy.backoff import CAP_S
from dispatcher.policy.outcome import (
    Accepted,
    Close,
    Doubt,
    GateChange,
    Open,
    Outcome,
    Reject,
    RetryLater,
    Snooze,
    Uncertain,
    Verdict,
    Why,
)
from dispatcher.store.schema import US
from dispatcher.store.scripts import Command
from dispatcher.store.work import SETTLED_A_CALL, Claimed, Settlement

KEPT_S = 60.0
"""Longer than a replica that may be promoted can lag behind, or an append-only file can lack."""
CALLS_AT_ONCE = 3
INTERNAL_ERROR = "internal error"
POSTPONED_S = 5.0
"""What a bug kept from its POST may meet the same bug again at once: others go first."""


@dataclass(slots=True)
class InFlight:
    """A message between its claim and its outcome; `claimed_at_us` by Redis's clock, `turn_at` by ours (seconds)."""

    message: Claimed
    number: str
    claimed_at_us: int
    turn_at: float = 0.0


def settlement(of: InFlight, verdict: Verdict, credential: str) -> Settlement:
    """Say what became of a message that was posted; `credential` is the fingerprint of the token that was used."""
    outcome, value, error = _outcome(verdict.outcome)
    gate, for_s, why = _gate(verdict.gate)
    return _settled(
        of, outcome, value=value, error=error, gate=gate, gate_for_us=round(for_s * US), why=str(why),
        credential=credential if gate == "close" else "",
    )  # fmt: skip


def released(of: InFlight) -> Settlement:
    """Give a message back that was claimed and not posted; costs nothing."""
    return _settled(of, "release")


def postponed(of: InFlight) -> Settlement:
    """Give a message back for 5 s, as a bug of ours showed before its POST began; costs nothing."""
    return _settled(of, "snooze", value=round(POSTPONED_S * US), error=INTERNAL_ERROR)


def uncertain(of: InFlight) -> Settlement:
    """Say that a message may have been accepted, as a bug of ours showed once its POST may have begun.

    The fifth in a row closes the gate for as long as anything does: a bug that meets every message must not make all
    that wait uncertain.
    """
    gate_for_us = round(CAP_S * US)
    return _settled(
        of, "uncertain", error=INTERNAL_ERROR, gate="doubt", gate_for_us=gate_for_us, why=str(Why.UNCERTAIN)
    )


def _settled(of: InFlight, outcome: str, **fields: Any) -> Settlement:
    message = of.message
    return Settlement(
        message.key, message.claim, outcome, of.number, message.priority, message.recipient, message.fingerprint,
        of.claimed_at_us, **fields,
    )  # fmt: skip


def _outcome(outcome: Outcome) -> tuple[str, str | int, str]:
    """Return the word, the value and the error that `settle.lua` takes."""
    match outcome:
        case Accepted(wamid, held):
            return "accepted", wamid, "held" if held else ""
        case RetryLater(after_s, error):
            return "retry", round(after_s * US), error
        case Snooze(error, after_s):
            return "snooze", "" if after_s is None else round(after_s * US), error
        case Reject(error):
            return "reject", "", error
        case Uncertain(error):
            return "uncertain", "", error
        case _ as never:
            assert_never(never)


def _gate(change: GateChange | None) -> tuple[str, float, str]:
    """Return the word for the gate, for how many seconds, and why."""
    match change:
        case Close(why, for_s):
            return "close", for_s, why
        case Doubt(for_s):
            return "doubt", for_s, Why.UNCERTAIN
        case Open():
            return "open", 0, ""
        case None:
            return "", 0, ""
        case _ as never:
            assert_never(never)


class InFlightMap:
    """The messages in flight of one process, and what became of the last ones; `clock` gives steady seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_flight: dict[str, InFlight] = {}
        # Flat tuples of plain values, which the garbage collector leaves alone: a minute of a fast number are 60,000
        # outcomes, and a pause to look through them would hold back POSTs and let them out in a burst.
        self._ended: dict[str, tuple[Any, ...]] = {}
        self._settled_at: dict[str, float] = {}
        self._of_number: Counter[str] = Counter()
        self._one_ended: dict[str, asyncio.Event] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._in_flight)

    def of_number(self, number: str) -> int:
        """Count what the number has in flight."""
        return self._of_number[number]

    def begin(self, each: InFlight) -> None:
        """Write down that the message is in our hands."""
        self._in_flight[each.message.key] = each
        self._of_number[each.number] += 1
        self._empty.clear()

    def end(self, outcome: Settlement) -> None:
        """Write down what became of it; kept until it is settled, and a minute longer."""
        if self._in_flight.pop(outcome.key, None) is not None:
            self._of_number[outcome.number] -= 1
            if not self._of_number[outcome.number]:
                del self._of_number[outcome.number]
            if one_ended := self._one_ended.pop(outcome.number, None):
                one_ended.set()
            if not self._in_flight:
                self._empty.set()
        self._ended[outcome.key] = tuple(outcome)
        self._settled_at.pop(outcome.key, None)

    def settled(self, outcome: Settlement) -> None:
        """Redis knows it; forget it in a minute."""
        if self._ended.get(outcome.key) == outcome:
            self._settled_at.pop(outcome.key, None)  # so that the order is that of settling
            self._settled_at[outcome.key] = self._clock()

    def has_unsettled(self) -> bool:
        """Whether Redis has yet to hear of an outcome."""
        return len(self._ended) > len(self._settled_at)

    def forget(self) -> None:
        """Drop what was settled more than a minute ago."""
        horizon = self._clock() - KEPT_S
        old = list(itertools.takewhile(lambda key: self._settled_at[key] <= horizon, self._settled_at))
        for key in old:
            del self._settled_at[key], self._ended[key]

    def adopt(self, each: InFlight) -> bool:
        """Let what is in flight already take over a new claim, so that its outcome is heard; False if it is not."""
        known = self._in_flight.get(each.message.key)
        if known is None:
            return False
        known.message.claim = each.message.claim
        known.claimed_at_us = each.claimed_at_us
        return True

    def recall(self, each: InFlight) -> Settlement | None:
        """Return what must be settled again instead of posting what was just claimed; None if it may be posted.

        An outcome with this claim number or a later one means that Redis went back in time.
        """
        ended = self._ended.get(each.message.key)
        if ended is None:
            return None
        known = Settlement._make(ended)
        if each.message.claim > known.claim or known.outcome in {"release", "snooze", "retry"}:
            return None
        return known._replace(claim=each.message.claim)

    def to_tell_again(self, lease_us: int) -> Iterator[Settlement]:
        """List the outcomes of the last minute, then what is in flight and so must not be claimed by anybody."""
        yield from map(Settlement._make, list(self._ended.values()))
        for each in list(self._in_flight.values()):
            yield _settled(each, "in_flight", value=lease_us)

    async def one_ends(self, number: str, timeout_s: float) -> None:
        """Wait until something of the number has ended, `timeout_s` seconds at most."""
        one_ended = self._one_ended.setdefault(number, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await one_ended.wait()
        except TimeoutError:
            pass

    async def empty(self) -> None:
        """Wait until nothing is in flight."""
        await self._empty.wait()


class Settler:
    """Settles outcomes in batches that form by themselves: what ends while a settle is under way goes with the next.

    One a process. `run` carries out what `settle` makes of a batch, which says what each message is now. A lone message
    is settled at once, and full batches do not wait for each other. `on_settled` hears what each message became, in a
    callback of its own: what that raises is the event loop's to report. `on_trouble` hears that Redis did not answer.
    """

    def __init__(
        self,
        settle: Callable[[Sequence[Settlement]], Command[list[str]]],
        run: Callable[[Command[list[str]]], Awaitable[list[str]]],
        in_flight: InFlightMap,
        on_settled: Callable[[Settlement, str], None],
        on_trouble: Callable[[], None],
    ) -> None:
        self._settle_batch = settle
        self._run = run
        self._in_flight = in_flight
        self._on_settled = on_settled
        self._on_trouble = on_trouble
        self._waiting: deque[Settlement] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    def put(self, outcome: Settlement) -> None:
        """Take an outcome; it is settled as soon as Redis answers."""
        self._in_flight.end(outcome)
        self._waiting.append(outcome)
        is_full = len(self._waiting) >= SETTLED_A_CALL and len(self._calls) < CALLS_AT_ONCE
        if is_full or not self._calls:
            self._calls.add(asyncio.create_task(self._settle_waiting()))

    @property
    def is_busy(self) -> bool:
        """Whether anything that was put is not settled yet."""
        return bool(self._waiting or self._calls) or self._in_flight.has_unsettled()

    async def drain(self) -> None:
        """Wait until all that was put is settled or Redis has failed to answer."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def tell_again(self, lease_us: int) -> None:
        """Settle the last minute again and reclaim what is in flight, after Redis was away.

        Raises:
            QueueUnavailable: it is away again.
        """
        self._waiting.clear()  # it is part of the last minute
        again = list(self._in_flight.to_tell_again(lease_us))
        for at in range(0, len(again), SETTLED_A_CALL):
            await self._settle(again[at : at + SETTLED_A_CALL])

    async def _settle_waiting(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(SETTLED_A_CALL, len(self._waiting)))]
                await self._settle(batch)
        except errors.QueueUnavailable:
            self._on_trouble()  # what ended is remembered, and told again with the rest
        finally:
            # here, not once the task is done: what is put in between would find a call that takes nothing any more
            self._calls.discard(asyncio.current_task())

    async def _settle(self, batch: list[Settlement], *, is_alone: bool = False) -> None:
        """Settle a batch; an entry that meets a bug, or data that is not ours, is left to its lease, and it alone.

        Raises:
            QueueUnavailable: Redis is away.
        """
        try:
            found = list(zip(batch, await self._run(self._settle_batch(batch)), strict=True))
        except Exception as exc:
            if isinstance(exc, errors.QueueUnavailable) and not isinstance(exc, errors.QueueBroken):
                raise
            if not is_alone:
                for outcome in batch:
                    await self._settle([outcome], is_alone=True)
                return
            found = [(batch[0], f"broken: {getattr(exc, 'reason', type(exc).__name__)}")]
        for outcome, word in found:
            if outcome.outcome != "in_flight":
                self._in_flight.settled(outcome)
            if word:
                asyncio.get_running_loop().call_soon(self._on_settled, outcome, word)
