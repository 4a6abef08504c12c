"""The composition root of the API: builds a process from settings, and runs it until it is told to stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dispatcher import errors
from dispatcher.api import forwarding, webhook_worker
from dispatcher.api.bodies import BODY_TIMEOUT_S, Bodies
from dispatcher.api.forwarding import Forward, Forwarding, Pace, Share, Target, host_of
from dispatcher.api.heart import Heart
from dispatcher.api.inbox import Inbox
from dispatcher.api.journal import Journal
from dispatcher.api.metrics import ApiMetrics
from dispatcher.api.server import HEAD_TIMEOUT_S, Server, address_of, listen
from dispatcher.api.webhook_endpoint import Credentials, Door
from dispatcher.api.webhook_worker import Reception
from dispatcher.meta.optout import Words
from dispatcher.meta.transport import Engine
from dispatcher.observe import logs
from dispatcher.observe.metrics import serve_metrics
from dispatcher.observe.process import allow_sockets, end_on_signals, freeze, process_name
from dispatcher.settings import PREFIX, Settings
from dispatcher.store.connection import connect
from dispatcher.store.health import check_schema
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.webhooks import forget_forwards

WEBHOOKS: Final = "/webhooks/whatsapp"
HEALTH: Final = "/health"
STOP_LIMIT_S: Final = 25.0
"""Longer than answers (10 s) and then what is being passed on (10 s) may take."""


@dataclass(frozen=True, slots=True)
class Api:
    """An API process, put together."""

    server: Server
    heart: Heart
    reception: Reception
    forwarding: Forwarding
    journal: Journal

    def stop(self) -> None:
        """Begin to end: nothing more is accepted."""
        self.server.stop()

    async def run(self) -> None:
        """Serve until stopped; what is under way is answered, and the batch in work ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.heart.run())
            group.create_task(self.reception.run())
            group.create_task(self.forwarding.run())
            try:
                await self.server.run_until_stopped()
            finally:
                self.reception.sleeper.stop()
                self.forwarding.stop()
                self.heart.stop()


@dataclass(frozen=True, slots=True)
class Times:
    """How long a head and a body may take to come, and what a silent process holds is left to it, in seconds."""

    head_s: float = HEAD_TIMEOUT_S
    body_s: float = BODY_TIMEOUT_S
    left_s: float = webhook_worker.LEFT_S
    forward_left_s: float = forwarding.LEFT_S


@dataclass(frozen=True, slots=True)
class Means:
    """What a process is built on."""

    settings: Settings
    words: Words
    listener: socket.socket
    metrics: ApiMetrics
    times: Times = Times()


def words_of(settings: Settings) -> Words:
    """Read the opt-out words, and see that webhooks can be checked.

    Raises:
        SettingsError: With everything that is wrong, at once.
    """
    problems: list[str] = []
    if not settings.app_secrets:
        problems.append(f"{PREFIX}APP_SECRETS: webhooks cannot be checked without it; give the app's secret")
    words = Words.default()
    if settings.opt_out_words_file is not None:
        words = _loaded(settings.opt_out_words_file, problems)
    if problems:
        raise errors.SettingsError(tuple(problems))
    return words


def _loaded(path: Path, problems: list[str]) -> Words:
    try:
        return Words.load(path)
    except errors.SettingsError as exc:
        problems += [f"{PREFIX}OPT_OUT_WORDS_FILE: {problem}" for problem in exc.problems]
        return Words()


@asynccontextmanager
async def assembled(means: Means) -> AsyncIterator[Api]:
    """Put a process together; on leaving, its connections are closed."""
    settings, process = means.settings, process_name()
    urls = _urls(settings)
    hosts = [host_of(url) for url in urls]
    journal = Journal(means.metrics, process, hosts)
    cell = Cell.of(settings)
    redis = connect(settings.redis_url.get_secret_value(), cell, timeout_s=settings.redis_timeout_s)
    # one each, so that an answer waits neither for a batch in work nor for what is passed on
    pipelines = door, work, forward = [Pipeline(redis, journal.round_trip) for _ in range(3)]
    engine = Engine()

    worker = Reception(work, cell, process, means.words, journal, left_s=means.times.left_s)
    pace = Pace(settings.webhook_forward_kept_s, means.times.forward_left_s)
    shares = [Share(forward, cell, url, process) for url in urls]
    porter = Forwarding(
        [Forward(share, Target(share.url, engine, journal), journal, pace) for share in shares],
        lambda: forward.run(forget_forwards(cell, urls, pace.kept_s)),
        journal,
    )
    inbox = Inbox(door, cell, process, urls)
    heart = Heart(inbox, door, journal, hosts)

    def stored() -> None:
        worker.sleeper.wake()
        porter.wake()

    endpoint = Door(inbox, _credentials(settings), journal, Bodies(means.times.body_s), stored)
    server = Server(application(endpoint, heart), means.listener, means.times.head_s)
    try:
        await door.follow(check_schema())
        yield Api(server, heart, worker, porter, journal)
    finally:
        for pipeline in pipelines:
            await pipeline.idle()
        await engine.aclose()
        await redis.aclose()


def _urls(settings: Settings) -> list[str]:
    return [url.get_secret_value() for url in settings.webhook_forward_urls]


def application(door: Door, heart: Heart) -> Starlette:
    """Return what answers requests."""

    async def health(_: Request) -> JSONResponse:
        is_well = heart.is_well
        return JSONResponse({"redis": "ok" if is_well else "away"}, 200 if is_well else 503)

    app = Starlette(routes=[Route(WEBHOOKS, door), Route(HEALTH, health, methods=["GET"])])
    app.router.redirect_slashes = False  # nobody posts again what was redirected
    return app


def _credentials(settings: Settings) -> Credentials:
    token = settings.webhook_verify_token
    return Credentials(
        [secret.get_secret_value().encode() for secret in settings.app_secrets],
        token.get_secret_value().encode() if token is not None else None,
    )


def serve(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Be an API process until told to stop; `on_listening` is told its URL.

    Raises:
        SettingsError: Settings are missing or wrong, or a port is taken.
    """
    words = words_of(settings)
    logs.set_up(settings.log_level, settings.log_format)
    with listen(settings.api_host, settings.api_port) as listener:
        freeze()
        allow_sockets()
        means = Means(settings, words, listener, ApiMetrics(CollectorRegistry()))
        uvloop.run(_run(means, on_listening))


async def _run(means: Means, on_listening: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once."""
    settings = means.settings
    server = serve_metrics(means.metrics, settings.metrics_port) if settings.metrics_port else None
    try:
        async with assembled(means) as api:
            _handle_signals(api)
            url = address_of(means.listener)
            api.journal.said(logs.PROCESS_STARTED, url=url, redis=settings.redis_address)
            on_listening(url)
            await api.run()
            api.journal.said(logs.PROCESS_STOPPED)
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)


def _handle_signals(api: Api) -> None:
    def stop(name: str) -> None:
        api.journal.said(logs.PROCESS_STOPPING, signal=name)
        api.stop()

    end_on_signals(stop, STOP_LIMIT_S)
