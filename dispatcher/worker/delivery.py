"""One number: claim, pace, post, judge, settle, until there is nothing more to do for it now."""

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from dispatcher import errors
from dispatcher.worker.in_flight import Flight, Flights
from dispatcher.meta.graph import Graph
from dispatcher.store.work import Asking, Batch, Serving
from dispatcher.worker.pacer import Pacer
from dispatcher.policy.bucket import Bucket, Room, room
from dispatcher.policy.verdict import judge
from dispatcher.policy.outcome import Close, Lost, Reply, Verdict, Why
from dispatcher.worker.reconnect import Recovery
from dispatcher.worker.numbers import Roster
from dispatcher.settings import Number
from dispatcher.worker.settlement import released, settlement
from dispatcher.worker.settler import Settler

# Fewer, larger claims: at 1,000 a second one brings 8 messages. A bucket holds 15 ms of rate, so nothing is lost.
CLAIM_EVERY_S = 0.008
# The rate leaves 25 ms for an uneven way to the wire. A process that stalled for longer than this takes a new turn for
# each message that waited, or they would leave in one burst with the next ones.
TURN_HOLDS_S = 0.015
# So many POSTs begin before the event loop looks at its sockets again: a large batch must not hold up Redis's answers.
POSTS_AT_ONCE = 16


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

    def failed(self, flight: Flight, exc: Exception) -> None:
        """A bug of ours showed; the message is uncertain."""


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
            self._witness.claimed(batch)
            flights = [Flight(message, number.id, batch.claimed_at_us) for message in batch.messages]
            unknown = [flight for flight in flights if not self._is_known(flight)]
            for flight in unknown:
                self._means.flights.depart(flight)
            claim = _Claim(number, number.token_fingerprint, batch.streak, asked_at)
            self._start(self._deliver_all(claim, unknown))  # meanwhile the next claim can be made
            if batch.state != "kept":
                return
            await self._rest_until(next_at, number)
        await self._means.recovery.patiently(lambda: self._means.serving.release(self._owner, [number_id]))

    async def _deliver_all(self, claim: _Claim, flights: list[Flight]) -> None:
        """Begin to post a batch, in turns."""
        for count, flight in enumerate(flights, 1):
            if self._may_post(claim, self._means.clock()):
                await self._pacers[claim.number.id].turn()
            flight.turn_at = self._means.clock()
            self._start(self._deliver(claim, flight))
            if count % POSTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _deliver(self, claim: _Claim, flight: Flight) -> None:
        """Post one message and settle what came of it, or give it back."""
        started_at = self._means.clock()
        if self._may_post(claim, started_at) and started_at - flight.turn_at > TURN_HOLDS_S:
            await self._pacers[claim.number.id].turn()
            started_at = self._means.clock()
        if not self._may_post(claim, started_at):
            self._means.settler.put(released(flight))
            return
        self._witness.departed(flight, started_at - claim.asked_at)
        reply = await self._post(claim.number, flight)
        self._witness.answered(reply)
        verdict = judge(reply, streak=claim.streak, rand=random.random())  # noqa: S311 - backoff is no secret
        if isinstance(verdict.gate, Close) and verdict.gate.why is Why.CREDENTIAL:
            self._means.roster.distrust()
        self._means.settler.put(settlement(flight, verdict, claim.credential))
        self._witness.attempted(flight, verdict, self._means.clock() - started_at)

    async def _post(self, number: Number, flight: Flight) -> Reply:
        message = flight.message
        body = b'%b,"biz_opaque_callback_data":"d1:%d:%b"}' % (message.body, message.claim, message.key.encode())
        token, deadline_s = number.token.get_secret_value(), self._limits.deadlines_s[message.priority]
        try:
            return await self._means.graph.post(number.id, token, body, deadline_s=deadline_s)
        except Exception as exc:  # noqa: BLE001 - a bug must not lose the message, nor post it twice
            self._witness.failed(flight, exc)
            return Lost("internal error")

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

        Also returns when the claim was first sent, by our clock: what it brings is no older than that.
        """
        await self._means.recovery.over()
        asked_at, sequence = self._means.clock(), next(self._sequence)
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
