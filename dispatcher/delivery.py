"""One number: claim, pace, post, judge, settle, until there is nothing more to do for it now."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dispatcher import errors
from dispatcher.flights import Flight, Flights
from dispatcher.graph import Graph
from dispatcher.lanes.line import is_cancelled
from dispatcher.lanes.serving import Asking, Batch, Claimed, Serving
from dispatcher.pacer import Pacer
from dispatcher.policy.backoff import retry_s
from dispatcher.policy.gate import Bucket, Room, room
from dispatcher.policy.judge import judge
from dispatcher.policy.outcome import Close, Reply, Uncertain, Verdict, Why
from dispatcher.priority import Priority
from dispatcher.recovery import Recovery
from dispatcher.roster import Roster
from dispatcher.settings import Number
from dispatcher.settlement import INTERNAL_ERROR, postponed, released, settlement, uncertain
from dispatcher.settler import Settler

# Fewer, larger claims: at 1,000 a second one brings 8 messages. A bucket holds 15 ms of rate, so nothing is lost.
CLAIM_EVERY_S = 0.008
# The rate leaves 25 ms for an uneven way to the wire. A process that stalled for longer than this takes a new turn for
# each message that waited, or they would leave in one burst with the next ones.
TURN_HOLDS_S = 0.015
# So many POSTs begin before the event loop looks at its sockets again: a large batch must not hold up Redis's answers.
POSTS_AT_ONCE = 16
# What a POST counts as in which a bug of ours showed.
_BUG = Verdict(Uncertain(INTERNAL_ERROR), None, "lost")


@dataclass(frozen=True, slots=True)
class Limits:
    """How old a claim may be when its POST begins, the whole POST's deadline by lane, in seconds; most in flight."""

    claim_to_post_s: float
    deadlines_s: tuple[float, float, float]
    most: int


@dataclass(frozen=True, slots=True)
class Means:
    """What a delivery works with; all of one process. `clock` gives seconds that go on while the machine sleeps."""

    serving: Serving
    graph: Graph
    settler: Settler
    flights: Flights
    recovery: Recovery
    roster: Roster
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the messages of one claim have in common; `asked_at` is when it was first sent, by our clock."""

    number: Number
    credential: str
    streak: int
    asked_at: float


class Witness(Protocol):
    """Who hears what happens to messages, for logs and metrics."""

    def claimed(self, batch: Batch) -> None:
        """A claim was answered."""

    def departed(self, flight: Flight, since_claim_s: float) -> None:
        """A POST begins."""

    def answered(self, reply: Reply) -> None:
        """The endpoint answered a POST, or did not."""

    def attempted(self, flight: Flight, verdict: Verdict, took_s: float) -> None:
        """A POST has ended."""

    def failed(self, flight: Flight, exc: BaseException) -> None:
        """A bug of ours showed; the message is put back, or uncertain if its POST may have begun."""


class Delivery:
    """Serves the numbers of one process, each in a loop of its own; `owner` is the process."""

    def __init__(self, owner: str, means: Means, limits: Limits, witness: Witness) -> None:
        self._owner = owner
        self._means = means
        self._limits = limits
        self._witness = witness
        self._sequence = itertools.count(1)
        self._pacers: dict[str, Pacer] = {}
        self._posts: set[asyncio.Task[None]] = set()
        self._stopping = False

    def stop(self) -> None:
        """Post nothing more: what is claimed goes back, what is in flight may land."""
        self._stopping = True

    async def serve(self, number_id: str) -> None:
        """Deliver what the number may send, until it is given back.

        Raises:
            QueueBroken: something of the number's in Redis is not what it should be; its lease will run out.
        """
        while not self._stopping:
            number = self._means.roster.get(number_id)
            if number is None:
                break
            batch, asked_at = await self._claim(number)
            self._pace(number.id, batch.bucket)
            next_at = max(asked_at + CLAIM_EVERY_S, self._means.clock() + batch.wait_s)
            flights = [Flight(message, number.id, batch.claimed_at_us) for message in batch.messages]
            unknown = [flight for flight in flights if not self._is_known(flight)]
            for flight in unknown:
                self._means.flights.depart(flight)
            claim = _Claim(number, number.token_fingerprint, batch.streak, asked_at)
            self._start(self._deliver_all(claim, unknown))  # meanwhile the next claim can be made
            self._witness.claimed(batch)
            if batch.state != "kept":
                return
            await self._rest_until(next_at, number)
        await self._means.recovery.patiently(lambda: self._means.serving.release(self._owner, [number_id]))

    async def _deliver_all(self, claim: _Claim, flights: list[Flight]) -> None:
        """Begin to post a batch, in turns."""
        begun = 0
        try:
            for flight in flights:
                if self._may_post(claim, self._means.clock()):
                    await self._pacers[claim.number.id].turn()
                flight.turn_at = self._means.clock()
                self._start(self._deliver(claim, flight))
                begun += 1
                if begun % POSTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            for flight in flights[begun:]:
                self._means.settler.put(postponed(flight))
                self._witness.failed(flight, exc)

    async def _deliver(self, claim: _Claim, flight: Flight) -> None:
        """Post one message or give it back; it ends in one settlement, whatever raises."""
        try:
            started_at = await self._turn(claim, flight)
            if started_at is None:
                self._means.settler.put(released(flight))
                return
            post = self._prepared(claim.number, flight)
            self._witness.departed(flight, started_at - claim.asked_at)
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            self._means.settler.put(postponed(flight))
            self._witness.failed(flight, exc)
            return
        await self._attempt(claim, flight, post, started_at)

    async def _attempt(
        self, claim: _Claim, flight: Flight, post: Callable[[], Awaitable[Reply]], started_at: float
    ) -> None:
        """Post, judge and settle; the witness hears of it last."""
        reply, failure, verdict, found = None, None, _BUG, uncertain(flight)
        try:
            reply = await post()
            verdict = _judged(reply, claim.streak, flight.message)
            found = settlement(flight, verdict, claim.credential)
            if isinstance(verdict.gate, Close) and verdict.gate.why is Why.CREDENTIAL:
                self._means.roster.distrust()
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            failure = exc
        self._means.settler.put(found)
        if failure is not None:
            self._witness.failed(flight, failure)
        if reply is not None:
            self._witness.answered(reply)
        self._witness.attempted(flight, verdict, self._means.clock() - started_at)

    def _prepared(self, number: Number, flight: Flight) -> Callable[[], Awaitable[Reply]]:
        """Return the POST, to be begun by a call."""
        message = flight.message
        body = b'%b,"biz_opaque_callback_data":"d1:%d:%b"}' % (message.body, message.claim, message.key.encode())
        token, deadline_s = number.token.get_secret_value(), self._limits.deadlines_s[message.priority]
        return partial(self._means.graph.post, number.id, token, body, deadline_s=deadline_s)

    async def _turn(self, claim: _Claim, flight: Flight) -> float | None:
        """Wait for another turn where the last is stale; when the POST may begin, None if it is too late for that."""
        now = self._means.clock()
        if self._may_post(claim, now) and now - flight.turn_at > TURN_HOLDS_S:
            await self._pacers[claim.number.id].turn()
            now = self._means.clock()
        return now if self._may_post(claim, now) else None

    def _is_known(self, flight: Flight) -> bool:
        """Whether we posted the message already, and Redis has forgotten it; then it is told again."""
        if self._means.flights.adopt(flight):
            return True
        if settled := self._means.flights.recall(flight):
            self._means.settler.put(settled)
            return True
        return False

    async def _claim(self, number: Number) -> tuple[Batch, float]:
        """Claim, again with the same sequence if the answer was lost: the same batch comes back.

        Also returns when the claim was first sent, by our clock: what it brings is no older than that. A bug is tried
        again once: it may have been that of another who shared the pipeline, and would leave the batch to its leases.
        """
        await self._means.recovery.over()
        asked_at, sequence, has_failed = self._means.clock(), next(self._sequence), False
        while True:
            asking = Asking(
                number.id, self._owner, sequence, number.rate_per_s, self._room(number), number.waba_id or "",
                number.token_fingerprint,
            )  # fmt: skip
            try:
                return await self._means.serving.claim(asking), asked_at
            except errors.QueueBroken:
                raise
            except errors.QueueUnavailable:
                self._means.recovery.trouble()
                await self._means.recovery.over()
            except Exception:
                if has_failed:
                    raise
                has_failed = True

    def _room(self, number: Number) -> Room:
        """Say how many more POSTs of each lane may be in flight; before the first claim by the rate in our file."""
        pacer = self._pacers.get(number.id)
        rate_per_s = pacer.bucket.rate_per_s if pacer else number.rate_per_s
        most, flying = room(rate_per_s, most=self._limits.most), self._means.flights.of_number(number.id)
        return Room(most.urgent - flying, most.normal - flying, most.bulk - flying)

    async def _rest_until(self, next_at: float, number: Number) -> None:
        """Wait until another claim may bring something."""
        if self._room(number).bulk < 1:
            await self._means.flights.movement(number.id, next_at - self._means.clock())
            await asyncio.sleep(CLAIM_EVERY_S)  # one place is free; more will be in a moment
        elif (rest_s := next_at - self._means.clock()) > 0:
            await asyncio.sleep(rest_s)

    def _may_post(self, claim: _Claim, now: float) -> bool:
        return not self._stopping and now - claim.asked_at < self._limits.claim_to_post_s

    def _pace(self, number_id: str, bucket: Bucket) -> None:
        """Follow the rate that the number's gate gives all processes, whatever our own file says."""
        pacer = self._pacers.get(number_id)
        if pacer is None or pacer.bucket != bucket:
            self._pacers[number_id] = Pacer(bucket)

    def _start(self, post: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(post)
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)


def _judged(reply: Reply, streak: int, message: Claimed) -> Verdict:
    rand = random.random()  # noqa: S311 - backoff is no secret
    after_s = retry_s(message.attempts, is_urgent=message.priority == Priority.URGENT.lane, rand=rand)
    return judge(reply, streak=streak, retry_s=after_s, rand=rand)
