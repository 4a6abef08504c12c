"""The act itself: producers send, a worker is killed, the others go on until nothing waits and nothing is uncertain."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from dispatcher.lab.chronicle import ACCEPTED, UNCERTAIN
from dispatcher.lab.evidence import CAMPAIGN, LATE, LATE_CAMPAIGN, Kill, kind_of
from dispatcher.lab.options import Options
from dispatcher.lab.parts import Part
from dispatcher.lab.scene import Scene
from dispatcher.lab.traffic import Traffic
from dispatcher.lab.watch import Watch

KILL_AFTER_SHARE: Final = 0.4
LOOK_EVERY_S: Final = 0.1
_REPLACE_AFTER_S: Final = 1.0


class Show(Protocol):
    """Who shows how the play goes."""

    def say(self, text: str) -> None:
        """Something happened."""

    def update(self, watch: Watch, traffic: Traffic) -> None:
        """Time has passed."""


class Act:
    """From the first message to the last: until each is settled, or the time is up at `deadline`."""

    def __init__(self, options: Options, show: Show, scene: Scene, watch: Watch, traffic: Traffic) -> None:
        self._options = options
        self._show = show
        self._scene = scene
        self._watch = watch
        self._traffic = traffic
        self._is_campaign_over = False
        self._is_trickle_told = False
        self._kill: Kill | None = None

    async def run(self, deadline: float) -> Kill:
        """Play until it is over; who was killed, and when."""
        self._show.say(f"queueing a campaign of {self._options.messages:,} while one-time passwords arrive")
        producing = [
            asyncio.create_task(self._traffic.campaign(self._options.messages)),
            asyncio.create_task(self._traffic.codes(lambda: not self._is_campaign_over)),
        ]
        trickle = asyncio.create_task(self._traffic.trickle(self._wanted))
        try:
            while time.monotonic() < deadline:
                if await self._is_over(producing, trickle):
                    break
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for task in (*producing, trickle):
                task.cancel()
            await asyncio.wait([*producing, trickle])
        return self._kill or await self._strike(self._scene.workers[0])

    async def _is_over(self, producing: Sequence[asyncio.Task[None]], trickle: asyncio.Task[None]) -> bool:
        watch = self._watch
        await watch.look()
        self._show.update(watch, self._traffic)
        for task in (*producing, trickle):
            if task.done():
                task.result()
        if self._kill is None:
            await self._consider_a_kill()
        else:
            self._replace_the_only_one(self._kill)
            self._consider_the_campaign(self._kill)
        return all(task.done() for task in producing) and all(map(watch.is_settled, self._traffic.sent))

    def _wanted(self) -> list[tuple[str, str]]:
        """Return which messages would tell something of what is uncertain, by number and kind.

        While the campaign goes on it does so itself.
        """
        wanted = {(number, LATE[kind]) for number, kind in self._watch.uncertain()}
        return [(number, kind) for number, kind in wanted if self._is_campaign_over or kind != LATE_CAMPAIGN]

    def _consider_the_campaign(self, kill: Kill) -> None:
        """Find it over when all of it has landed but for what was in flight at the kill, which waits for its leases."""
        watch = self._watch
        if not self._is_campaign_over:
            keys = [key for key in self._traffic.sent if kind_of(key) == CAMPAIGN]
            landed = (watch.has_landed(key) or key in kill.sending for key in keys)
            self._is_campaign_over = len(keys) == self._options.messages and all(landed)
        uncertain = watch.total(UNCERTAIN)
        if self._is_campaign_over and uncertain and not self._is_trickle_told:
            self._is_trickle_told = True
            self._show.say(f"the campaign is over, {uncertain} uncertain: a trickle goes on until none is")

    async def _consider_a_kill(self) -> None:
        """Kill the worker that has most in flight, when enough is accepted; any, if the campaign is over before."""
        accepted = self._watch.total(ACCEPTED, kind=CAMPAIGN)
        if accepted < KILL_AFTER_SHARE * self._options.messages:
            return
        flights = await self._watch.sending()
        flying = Counter(self._watch.gates[flight.number].owner for flight in flights.values())
        for owner, _ in flying.most_common():
            worker = next((worker for worker in self._scene.workers if worker.pid == _pid_of(owner)), None)
            if worker is not None:
                self._kill = await self._strike(worker)
                return
        campaign = (key for key in self._traffic.sent if kind_of(key) == CAMPAIGN)
        if sum(map(self._watch.has_landed, campaign)) >= self._options.messages:
            self._kill = await self._strike(self._scene.workers[0])

    async def _strike(self, worker: Part) -> Kill:
        """Kill a worker, and note what is under way once it is dead: what it settled as its last act is not."""
        at_s = time.monotonic()
        worker.kill()
        flights = await self._watch.sending()
        await self._watch.look()
        living = {other.pid for other in self._scene.workers if other.code is None}
        gates = self._watch.gates.items()
        numbers = tuple(number for number, gate in gates if _pid_of(gate.owner) not in living)
        self._show.say(f"killed {worker.name} (SIGKILL); {len(numbers)} numbers are served by nobody now")
        return Kill(at_s, worker.name, numbers, {key: flight.claim for key, flight in flights.items()})

    def _replace_the_only_one(self, kill: Kill) -> None:
        """Where there was but one worker, start another a second after its end."""
        is_due = time.monotonic() - kill.at_s >= _REPLACE_AFTER_S
        if self._options.workers == 1 and len(self._scene.workers) == 1 and is_due:
            self._show.say("starting another worker in its place")
            self._scene.start_worker()


def _pid_of(owner: str) -> int | None:
    """Return the process id in a worker's name, `<host>-<pid>-<digits>`; None of nobody."""
    parts = owner.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 else None
