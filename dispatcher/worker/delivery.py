"""One number: claim, pace, post, judge, settle, until there is nothing more to do for it now."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from aiolimiter import AsyncLimiter

from dispatcher import errors
from dispatcher.message.priority import LANE_OF, Priority
from dispatcher.meta.graph import Graph
from dispatcher.policy.bucket import Bucket, Room, room
from dispatcher.policy.outcome import Close, Reply, Uncertain, Verdict, Why
from dispatcher.policy.verdict import judge
from dispatcher.settings import Number, Settings
from dispatcher.store import work
from dispatcher.store.pipeline import is_cancelled
from dispatcher.store.work import Batch, Claimed
from dispatcher.worker.in_flight import INTERNAL_ERROR, InFlight, postponed, released, settlement, uncertain
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.numbers import Numbers
from dispatcher.worker.reconnect import CellConnection

CLAIM_EVERY_S = 0.008
"""Fewer, larger claims: at 1,000 a second one brings 8 messages. A bucket holds 15 ms of rate, so nothing is lost."""
TURN_HOLDS_S = 0.015
"""The rate leaves 25 ms for an uneven way to the wire. A process that stalled for longer than this takes a new turn for
each message that waited, or they would leave in one burst with the next ones."""
POSTS_AT_ONCE = 16
"""So many POSTs begin before the event loop looks at its sockets again: a large batch must not delay Redis."""
# What a POST counts as in which a bug of ours showed.
_BUG = Verdict(Uncertain(INTERNAL_ERROR), None, "lost")


class Pacer:
    """Turns to post for a number, as often as its bucket in Redis hands out tokens; the second guard of the rate.

    One feeder a number asks for them: fifty tasks that wait on one limiter cost several hundred µs an acquisition.
    """

    def __init__(self, bucket: Bucket, most: int) -> None:
        """Follow a bucket; `most` POSTs may be in flight."""
        self.bucket = bucket
        self.room = room(bucket.rate_per_s, most=most)
        self._limiter = AsyncLimiter(bucket.size, bucket.size / bucket.refill_per_s)

    async def turn(self) -> None:
        """Wait until one more message may leave."""
        await self._limiter.acquire()


@dataclass(frozen=True, slots=True)
class _ClaimContext:
    """What the messages of one claim have in common; `asked_at` is when it was first sent, by our clock."""

    number: Number
    credential: str
    streak: int
    asked_at: float


class Delivery:
    """Serves the numbers of one process, each in a loop of its own; `owner` is the process."""

    def __init__(
        self,
        owner: str,
        connection: CellConnection,
        graph: Graph,
        numbers: Numbers,
        settings: Settings,
        log: WorkerLog,
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._in_flight = connection.in_flight
        self._put = connection.settler.put
        self._clock = connection.clock
        self._graph = graph
        self._numbers = numbers
        self._log = log
        self._most = settings.in_flight_per_number
        self._claim_to_post_s = settings.claim_to_post_s
        self._post_limits_s = [settings.post_limit_s(priority) for priority in Priority]
        self._sequence = itertools.count(1)
        self._pacers: dict[str, Pacer] = {}
        self._posts: set[asyncio.Task[None]] = set()
        self._stopping = False

    def stop(self) -> None:
        """Post nothing more: what is claimed goes back, what is in flight may end."""
        self._stopping = True

    async def serve(self, number_id: str) -> None:
        """Deliver what the number may send, until it is given back.

        Raises:
            QueueBroken: something of the number's in Redis is not what it should be; its lease will run out.
        """
        while not self._stopping:
            number = self._numbers.by_id.get(number_id)
            if number is None:
                break
            batch, asked_at = await self._claim(number)
            self._pace(number.id, batch.bucket)
            next_at = max(asked_at + CLAIM_EVERY_S, self._clock() + batch.wait_s)
            claimed = [InFlight(message, number.id, batch.claimed_at_us) for message in batch.messages]
            unknown = [each for each in claimed if not self._is_known(each)]
            for each in unknown:
                self._in_flight.begin(each)
            claim = _ClaimContext(number, number.token_fingerprint, batch.streak, asked_at)
            self._start(self._deliver_all(claim, unknown))  # meanwhile the next claim can be made
            self._log.claimed(batch)
            if batch.state != "kept":
                return
            await self._rest_until(next_at, number)
        await self._connection.reconnect.until_done(lambda: self._release(number_id))

    async def _release(self, number_id: str) -> None:
        await self._connection.pipeline.run(work.release(self._connection.cell, self._owner, [number_id]))

    async def _claim(self, number: Number) -> tuple[Batch, float]:
        """Claim, again with the same sequence if the answer was lost: the same batch comes back.

        Also returns when the claim was first sent, by our clock: what it brings is no older than that. A bug is tried
        again once: it may have been that of another who shared the pipeline, and would leave the batch to its leases.
        """
        connection = self._connection
        await connection.reconnect.ready.wait()
        asked_at, sequence, has_failed = self._clock(), next(self._sequence), False
        while True:
            try:
                command = work.claim(connection.cell, number, self._owner, sequence, self._room(number))
                return await connection.pipeline.run(command), asked_at
            except errors.QueueBroken:
                raise
            except errors.QueueUnavailable:
                connection.reconnect.begin()
                await connection.reconnect.ready.wait()
            except Exception:
                if has_failed:
                    raise
                has_failed = True

    def _is_known(self, each: InFlight) -> bool:
        """Whether we posted the message already, and Redis has forgotten it; then it is told again."""
        if self._in_flight.adopt(each):
            return True
        if ended := self._in_flight.recall(each):
            self._put(ended)
            return True
        return False

    async def _deliver_all(self, claim: _ClaimContext, claimed: list[InFlight]) -> None:
        """Begin to post a batch, in turns."""
        begun = 0
        try:
            for each in claimed:
                if self._may_post(claim, self._clock()):
                    await self._pacers[claim.number.id].turn()
                each.turn_at = self._clock()
                self._start(self._deliver(claim, each))
                begun += 1
                if begun % POSTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            for each in claimed[begun:]:
                self._put(postponed(each))
                self._log.post_broke(each, exc)

    async def _deliver(self, claim: _ClaimContext, each: InFlight) -> None:
        """Post one message or give it back; it ends in one settlement, whatever raises."""
        try:
            started_at = await self._turn(claim, each)
            if started_at is None:
                self._put(released(each))
                return
            post = self._prepared(claim.number, each)
            self._log.post_began(each, started_at - claim.asked_at)
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            self._put(postponed(each))
            self._log.post_broke(each, exc)
            return
        await self._attempt(claim, each, post, started_at)

    async def _attempt(
        self, claim: _ClaimContext, each: InFlight, post: Callable[[], Awaitable[Reply]], started_at: float
    ) -> None:
        """Post, judge and settle; the log hears of it last."""
        reply, failure, verdict, found = None, None, _BUG, None
        try:
            reply = await post()
            verdict = _judged(reply, claim.streak, each.message)
            found = settlement(each, verdict, claim.credential)
            if isinstance(verdict.gate, Close) and verdict.gate.why is Why.CREDENTIAL:
                self._numbers.reread()
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            failure = exc
        self._put(found or uncertain(each))  # made here: its claim may have become a later one meanwhile
        if failure is not None:
            self._log.post_broke(each, failure)
        if reply is not None:
            self._log.endpoint_answered(reply)
        self._log.post_ended(each, verdict, self._clock() - started_at)

    def _prepared(self, number: Number, each: InFlight) -> Callable[[], Awaitable[Reply]]:
        """Return the POST, to be begun by a call."""
        message = each.message
        body = b'%b,"biz_opaque_callback_data":"d1:%d:%b"}' % (message.body, message.claim, message.key.encode())
        token, deadline_s = number.token.get_secret_value(), self._post_limits_s[message.priority]
        return partial(self._graph.post, number.id, token, body, deadline_s=deadline_s)

    async def _turn(self, claim: _ClaimContext, each: InFlight) -> float | None:
        """Wait for another turn where the last is stale; when the POST may begin, None if it is too late for that."""
        now = self._clock()
        if self._may_post(claim, now) and now - each.turn_at > TURN_HOLDS_S:
            await self._pacers[claim.number.id].turn()
            now = self._clock()
        return now if self._may_post(claim, now) else None

    def _may_post(self, claim: _ClaimContext, now: float) -> bool:
        return not self._stopping and now - claim.asked_at < self._claim_to_post_s

    def _pace(self, number_id: str, bucket: Bucket) -> None:
        """Follow the rate that the number's gate gives all processes, whatever our own file says."""
        pacer = self._pacers.get(number_id)
        if pacer is None or pacer.bucket != bucket:
            self._pacers[number_id] = Pacer(bucket, self._most)

    def in_flight_most(self) -> int:
        """Count how many POSTs may be in flight, of all numbers together, by the rates in our file."""
        rates = Counter(number.rate_per_s for number in self._numbers.by_id.values())
        return sum(count * room(rate_per_s, most=self._most).urgent for rate_per_s, count in rates.items())

    def _room(self, number: Number) -> Room:
        """Say how many more POSTs of each lane may be in flight; before the first claim by the rate in our file."""
        pacer = self._pacers.get(number.id)
        most = pacer.room if pacer else room(number.rate_per_s, most=self._most)
        now = self._in_flight.of_number(number.id)
        return Room(most.urgent - now, most.normal - now, most.bulk - now)

    async def _rest_until(self, next_at: float, number: Number) -> None:
        """Wait until another claim may bring something."""
        if self._room(number).bulk < 1:
            await self._in_flight.one_ends(number.id, next_at - self._clock())
            await asyncio.sleep(CLAIM_EVERY_S)  # one place is free; more will be in a moment
        elif (rest_s := next_at - self._clock()) > 0:
            await asyncio.sleep(rest_s)

    def _start(self, post: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(post)
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)


def _judged(reply: Reply, streak: int, message: Claimed) -> Verdict:
    rand = random.random()  # noqa: S311 - backoff is no secret
    is_urgent = message.priority == LANE_OF[Priority.URGENT]
    return judge(reply, streak=streak, attempts=message.attempts, is_urgent=is_urgent, rand=rand)
