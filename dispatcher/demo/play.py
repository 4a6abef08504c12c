"""The play itself: producers send, a worker is killed, the others go on, and all of it ends in evidence."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from dispatcher.client import Dispatcher
from dispatcher.demo.evidence import CAMPAIGN, Evidence, Exit, Fate, Kill, kind_of
from dispatcher.demo.ledger import Ledger
from dispatcher.demo.options import Options
from dispatcher.demo.parts import DemoError, Part
from dispatcher.demo.scene import START_LIMIT_S, STOP_LIMIT_S, Scene, staged
from dispatcher.demo.traffic import Traffic
from dispatcher.demo.watch import ACCEPTED, Watch, watching

KILL_AFTER_SHARE: Final = 0.4
_LOOK_EVERY_S: Final = 0.1
_REPLACE_AFTER_S: Final = 1.0
_RECORDS_A_CALL: Final = 500
_ERROR: Final = re.compile(r'"level": ?"(?:error|critical)"|^Traceback')


class Show(Protocol):
    """Who shows how the play goes."""

    def say(self, text: str) -> None:
        """Something happened."""

    def update(self, watch: Watch, traffic: Traffic) -> None:
        """Time has passed."""


async def play(options: Options, show: Show) -> Evidence:
    """Play it once; everything that was started is ended, however it goes.

    Raises:
        SettingsError: There is no server to run.
        QueueUnavailable: The server did not start, or answers no more.
        DemoError: Another part did not start, or a message was refused.
    """
    started_at = time.monotonic()
    show.say("starting a server, a simulator of the Cloud API and the workers")
    async with staged(options) as scene:
        ledger = Ledger(scene.simulator_url)
        async with (
            Dispatcher.connect(scene.server.url) as dispatcher,
            watching(scene.server.url, list(scene.numbers.values())) as watch,
        ):
            await _until_ready(scene, watch)
            await ledger.begin()
            traffic = Traffic(dispatcher, list(scene.numbers.values()), options.rate)
            kill = await _Act(options, show, scene, watch, traffic).run()
            show.say("asking the workers to end")
            exits = await _stop([worker for worker in scene.workers if worker.name != kill.worker])
            await watch.look()
            posts, windows, overlapping = await ledger.read()
            fates = await _fates(dispatcher, list(traffic.sent))
        return Evidence(
            sent=traffic.sent,
            fates=fates,
            uncertain_at_s=watch.uncertain_at_s,
            posts=posts,
            windows=windows,
            overlapping=overlapping,
            kill=kill,
            exits=exits,
            seconds=time.monotonic() - started_at,
            troubles=_troubles(scene.workers),
        )


class _Act:
    """From the first message to the last: until each is settled or uncertain, or the time is up."""

    def __init__(self, options: Options, show: Show, scene: Scene, watch: Watch, traffic: Traffic) -> None:
        self._options = options
        self._show = show
        self._scene = scene
        self._watch = watch
        self._traffic = traffic
        self._enough = asyncio.Event()
        self._kill: Kill | None = None

    async def run(self) -> Kill:
        """Play until it is over; who was killed, and when."""
        deadline = time.monotonic() + self._options.limit_s
        self._show.say(f"queueing a campaign of {self._options.messages:,} while one-time passwords arrive")
        producing = [
            asyncio.create_task(self._traffic.campaign(self._options.messages)),
            asyncio.create_task(self._traffic.codes(self._enough)),
        ]
        try:
            while time.monotonic() < deadline:
                if await self._is_over(producing):
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            for task in producing:
                task.cancel()
            await asyncio.wait(producing)
        return self._kill or await self._strike(self._scene.workers[0])

    async def _is_over(self, producing: Sequence[asyncio.Task[None]]) -> bool:
        watch = self._watch
        await watch.look()
        self._show.update(watch, self._traffic)
        for task in producing:
            if task.done():
                task.result()
        if self._kill is None:
            await self._consider_a_kill()
        else:
            self._replace_the_only_one(self._kill)
            if self._is_campaign_over(self._kill):
                self._enough.set()
        return all(task.done() for task in producing) and all(map(watch.has_landed, self._traffic.sent))

    def _is_campaign_over(self, kill: Kill) -> bool:
        """Whether all of the campaign has landed but for what was in flight at the kill, which waits for its leases."""
        keys = [key for key in self._traffic.sent if kind_of(key) == CAMPAIGN]
        if len(keys) < self._options.messages:
            return False
        return all(self._watch.has_landed(key) or key in kill.sending for key in keys)

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
        if self._watch.landed(CAMPAIGN) >= self._options.messages:
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


async def _until_ready(scene: Scene, watch: Watch) -> None:
    """Wait until all workers serve; one publishes the numbers just before it does."""
    deadline = time.monotonic() + START_LIMIT_S
    while await watch.workers() < len(scene.workers):
        for worker in scene.workers:
            worker.fail_if_ended()
        if time.monotonic() > deadline:
            raise DemoError("the workers do not start")
        await asyncio.sleep(_LOOK_EVERY_S)


async def _stop(workers: Sequence[Part]) -> tuple[Exit, ...]:
    """Ask the workers to end, all at once."""
    for worker in workers:
        worker.terminate()
    times = await asyncio.gather(*(worker.ended(STOP_LIMIT_S) for worker in workers))
    return tuple(
        Exit(worker.name, worker.code, STOP_LIMIT_S if took_s is None else took_s)
        for worker, took_s in zip(workers, times, strict=True)
    )


async def _fates(dispatcher: Dispatcher, keys: Sequence[str]) -> dict[str, Fate]:
    """Ask Redis how every message stands; what it does not know is left out."""
    fates: dict[str, Fate] = {}
    for at in range(0, len(keys), _RECORDS_A_CALL):
        some = keys[at : at + _RECORDS_A_CALL]
        for key, record in zip(some, await asyncio.gather(*map(dispatcher.status, some)), strict=True):
            if record is not None:
                fates[key] = Fate(record.state, record.cause, record.error, record.wamid)
    return fates


def _troubles(workers: Sequence[Part]) -> tuple[str, ...]:
    """Return the errors that the workers logged."""
    return tuple(
        f"{worker.name}: {line}" for worker in workers for line in worker.said.splitlines() if _ERROR.search(line)
    )


def _pid_of(owner: str) -> int | None:
    """Return the process id in a worker's name, `<host>-<pid>-<digits>`; None of nobody."""
    parts = owner.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 else None
