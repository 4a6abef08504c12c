"""The demo: producers send, a worker is killed, the others go on until nothing waits and nothing is uncertain.

The only module of the lab that prints, and that reads signals.
"""

import asyncio
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from rich.console import Console

from dispatcher import errors
from dispatcher.client import Dispatcher
from dispatcher.lab import report
from dispatcher.lab.deployment import START_LIMIT_S, STOP_LIMIT_S, Deployment, Options, deployed
from dispatcher.lab.evidence import (
    CAMPAIGN,
    LATE,
    LATE_CAMPAIGN,
    Evidence,
    Exit,
    FinalState,
    Kill,
    kind_of,
)
from dispatcher.lab.processes import LabError, Process
from dispatcher.lab.progress import Display, showing
from dispatcher.lab.simulator import SimulatorClient
from dispatcher.lab.timeline import ACCEPTED, UNCERTAIN, CellWatcher, watching
from dispatcher.lab.traffic import Traffic

HELD: Final = 0
BROKEN: Final = 1
INTERRUPTED: Final = 130

_KILL_AFTER_SHARE: Final = 0.4
_LOOK_EVERY_S: Final = 0.1
_REPLACE_AFTER_S: Final = 1.0
_RECEIPTS_LIMIT_S: Final = 60.0
_RECORDS_A_CALL: Final = 500
_ERROR: Final = re.compile(r'"level": ?"(?:error|critical)"|^Traceback')


def run(options: Options) -> int:
    """Run the demo and print what came of it.

    Returns 0 if all promises held, 1 if one was broken or the demo could not be run, 130 if it was interrupted.

    Raises:
        SettingsError: There is no server to run.
    """
    out, aside = Console(), Console(stderr=True)
    is_quiet = options.json and not aside.is_terminal
    try:
        with showing(aside if options.json else out, options.names, is_quiet=is_quiet) as display:
            evidence = asyncio.run(_until_signalled(options, display))
    except (LabError, errors.QueueUnavailable) as exc:
        _fail(options, aside, f"the demo could not be run: {exc}")
        return BROKEN
    except (KeyboardInterrupt, asyncio.CancelledError):
        _fail(options, aside, "interrupted; everything that was started has ended")
        return INTERRUPTED
    told = report.summary(evidence)
    if options.json:
        sys.stdout.write(report.as_json(told, options) + "\n")
    else:
        report.tell(told, out, options.names)
    return HELD if told.is_ok else BROKEN


async def collect(options: Options, display: Display) -> Evidence:
    """Run it once, and return what it left behind; everything that was started is ended, however it goes.

    Raises:
        SettingsError: There is no server to run.
        QueueUnavailable: The server did not start, or answers no more.
        LabError: Another process did not start, or a message was refused.
    """
    started_at = time.monotonic()
    display.say("starting a server, a simulated Cloud API, the API and the workers")
    async with deployed(options) as deployment:
        simulator, numbers = deployment.simulator, deployment.numbers
        async with (
            Dispatcher.connect(deployment.server.url) as dispatcher,
            watching(deployment.server.url, numbers) as watcher,
        ):
            await deployment.connect_webhooks()
            await _until_ready(deployment, watcher)
            await simulator.begin()
            traffic = Traffic(dispatcher, numbers, options.rate)
            kill = await _Sending(options, display, deployment, watcher, traffic).run()
            display.say("waiting for the last receipts")
            await _until_received(simulator, watcher)
            display.say("asking the workers and the API to end")
            living = [worker for worker in deployment.workers if worker.name != kill.worker]
            exits = await _stop([*living, deployment.api])
            await watcher.look()
            display.update(watcher, traffic)
            ledger = await simulator.contents()
            states = await _final_states(dispatcher, list(traffic.sent))
        timeline = watcher.timeline
        return Evidence(
            sent=traffic.sent,
            states=states,
            uncertain_sends=timeline.uncertain_sends,
            receipts={key: frozenset(kinds) for key, kinds in timeline.receipts.items()},
            accepted_by_receipt=frozenset(timeline.accepted_by_receipt),
            posts=ledger.posts,
            windows=ledger.windows,
            overlapping=ledger.overlapping,
            webhooks=ledger.webhooks,
            kill=kill,
            exits=exits,
            seconds=time.monotonic() - started_at,
            troubles=_errors_logged([*deployment.workers, deployment.api]),
        )


class _Sending:
    """From the first message to the last: until each is settled, or the time is up."""

    def __init__(
        self, options: Options, display: Display, deployment: Deployment, watcher: CellWatcher, traffic: Traffic
    ) -> None:
        self._options = options
        self._display = display
        self._deployment = deployment
        self._watcher = watcher
        self._timeline = watcher.timeline
        self._traffic = traffic
        self._is_campaign_over = False
        self._is_trickle_told = False
        self._kill: Kill | None = None

    async def run(self) -> Kill:
        """Send until it is over; who was killed, and when."""
        deadline = time.monotonic() + self._options.limit_s
        self._display.say(f"queueing a campaign of {self._options.messages:,} while one-time passwords arrive")
        producing = [
            asyncio.create_task(self._traffic.campaign(self._options.messages)),
            asyncio.create_task(self._traffic.codes(lambda: not self._is_campaign_over)),
        ]
        trickle = asyncio.create_task(self._traffic.trickle(self._wanted))
        try:
            while time.monotonic() < deadline:
                if await self._is_over(producing, trickle):
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            for task in (*producing, trickle):
                task.cancel()
            await asyncio.wait([*producing, trickle])
        return self._kill or await self._kill_worker(self._deployment.workers[0])

    async def _is_over(self, producing: Sequence[asyncio.Task[None]], trickle: asyncio.Task[None]) -> bool:
        await self._watcher.look()
        self._display.update(self._watcher, self._traffic)
        for task in (*producing, trickle):
            if task.done():
                task.result()
        if self._kill is None:
            await self._consider_a_kill()
        else:
            self._replace_the_only_one(self._kill)
            self._consider_the_campaign(self._kill)
        return all(task.done() for task in producing) and all(map(self._timeline.is_settled, self._traffic.sent))

    def _wanted(self) -> list[tuple[str, str]]:
        """Return which messages would tell something of what is uncertain, by number and kind.

        While the campaign goes on it does so itself.
        """
        wanted = {(number, LATE[kind]) for number, kind in self._timeline.uncertain()}
        return [(number, kind) for number, kind in wanted if self._is_campaign_over or kind != LATE_CAMPAIGN]

    def _consider_the_campaign(self, kill: Kill) -> None:
        """Find it over when all of it is settled or uncertain but for what was in flight at the kill."""
        if not self._is_campaign_over:
            keys = [key for key in self._traffic.sent if kind_of(key) == CAMPAIGN]
            ended = (self._timeline.state(key) or key in kill.sending for key in keys)
            self._is_campaign_over = len(keys) == self._options.messages and all(ended)
        uncertain = self._timeline.total(UNCERTAIN)
        if self._is_campaign_over and uncertain and not self._is_trickle_told:
            self._is_trickle_told = True
            self._display.say(f"the campaign is over, {uncertain} uncertain: a trickle goes on until none is")

    async def _consider_a_kill(self) -> None:
        """Kill the worker that has most in flight, when enough is accepted; any, if the campaign is over before."""
        accepted = self._timeline.total(ACCEPTED, kind=CAMPAIGN)
        if accepted < _KILL_AFTER_SHARE * self._options.messages:
            return
        sending = await self._watcher.sending()
        owners = Counter(self._watcher.standings[each.number].owner for each in sending.values())
        for owner, _ in owners.most_common():
            worker = next((worker for worker in self._deployment.workers if worker.pid == _pid_of(owner)), None)
            if worker is not None:
                self._kill = await self._kill_worker(worker)
                return
        campaign = (key for key in self._traffic.sent if kind_of(key) == CAMPAIGN)
        if sum(bool(self._timeline.state(key)) for key in campaign) >= self._options.messages:
            self._kill = await self._kill_worker(self._deployment.workers[0])

    async def _kill_worker(self, worker: Process) -> Kill:
        """Kill a worker, and note what is under way once it is dead: what it settled as its last act is not."""
        at_s = time.monotonic()
        worker.kill()
        sending = await self._watcher.sending()
        await self._watcher.look()
        living = {other.pid for other in self._deployment.workers if other.code is None}
        standings = self._watcher.standings.items()
        numbers = tuple(number for number, standing in standings if _pid_of(standing.owner) not in living)
        self._display.say(f"killed {worker.name} (SIGKILL); {len(numbers)} numbers are served by nobody now")
        return Kill(at_s, worker.name, numbers, {key: each.claim for key, each in sending.items()})

    def _replace_the_only_one(self, kill: Kill) -> None:
        """Where there was but one worker, start another a second after its end."""
        is_due = time.monotonic() - kill.at_s >= _REPLACE_AFTER_S
        if self._options.workers == 1 and len(self._deployment.workers) == 1 and is_due:
            self._display.say("starting another worker in its place")
            self._deployment.start_worker()


def _pid_of(owner: str) -> int | None:
    """Return the process id in a worker's name, `<host>-<pid>-<digits>`; None of nobody."""
    parts = owner.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 else None


async def _until_signalled(options: Options, display: Display) -> Evidence:
    """Run; SIGTERM ends it as Ctrl-C does, so that everything is cleaned up."""
    running = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if running is not None:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(signal.SIGTERM, running.cancel)
    return await collect(options, display)


async def _until_received(simulator: SimulatorClient, watcher: CellWatcher) -> None:
    """Wait until every webhook is delivered and worked off, or the time is up."""
    deadline = time.monotonic() + _RECEIPTS_LIMIT_S
    await simulator.webhooks_settled(_RECEIPTS_LIMIT_S)
    while time.monotonic() < deadline:
        if not (await watcher.counts()).webhooks:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _until_ready(deployment: Deployment, watcher: CellWatcher) -> None:
    """Wait until all workers serve; one publishes the numbers just before it does."""
    deadline = time.monotonic() + START_LIMIT_S
    while await watcher.workers() < len(deployment.workers):
        for worker in deployment.workers:
            worker.check()
        if time.monotonic() > deadline:
            raise LabError("the workers do not start")
        await asyncio.sleep(_LOOK_EVERY_S)


async def _stop(processes: Sequence[Process]) -> tuple[Exit, ...]:
    """Ask them to end, all at once."""

    async def stop(process: Process) -> Exit:
        asked_at = time.monotonic()
        process.send(signal.SIGTERM)
        code = await process.ended(STOP_LIMIT_S)
        return Exit(process.name, code, time.monotonic() - asked_at)

    return tuple(await asyncio.gather(*map(stop, processes)))


async def _final_states(dispatcher: Dispatcher, keys: Sequence[str]) -> dict[str, FinalState]:
    """Ask Redis how every message stands; what it does not know is left out."""
    found: dict[str, FinalState] = {}
    for at in range(0, len(keys), _RECORDS_A_CALL):
        some = keys[at : at + _RECORDS_A_CALL]
        for key, record in zip(some, await asyncio.gather(*map(dispatcher.status, some)), strict=True):
            if record is not None:
                found[key] = FinalState(record.state, record.cause, record.error, record.wamid)
    return found


def _errors_logged(processes: Sequence[Process]) -> tuple[str, ...]:
    return tuple(
        f"{each.name}: {line}" for each in processes for line in each.logged.splitlines() if _ERROR.search(line)
    )


def _fail(options: Options, aside: Console, why: str) -> None:
    if options.json:
        sys.stdout.write(report.failure_as_json(why) + "\n")
    else:
        aside.print(why, highlight=False, markup=False)
