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
from dispatcher.api.forwarding import Forwarding
from dispatcher.api.journal import ApiJournal
from dispatcher.api.server import HEAD_TIMEOUT_S, HttpServer, address_of, listen
from dispatcher.api.webhook_endpoint import BODY_TIMEOUT_S, BodyReader, Credentials, Inbox, WebhookEndpoint
from dispatcher.api.webhook_worker import WebhookWorker
from dispatcher.meta.optout import Words
from dispatcher.observe import logs
from dispatcher.observe.metrics import ApiMetrics, harmless, serve_metrics
from dispatcher.observe.process import allow_sockets, end_on_signals, freeze, process_name
from dispatcher.settings import PREFIX, Settings
from dispatcher.store.connection import connect
from dispatcher.store.health import check_schema
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell

WEBHOOKS: Final = "/webhooks/whatsapp"
HEALTH: Final = "/health"
STOP_LIMIT_S: Final = 25.0
"""Longer than answers (10 s) and then what is being passed on (10 s) may take."""


@dataclass(frozen=True, slots=True)
class Api:
    """An API process, put together."""

    server: HttpServer
    inbox: Inbox
    worker: WebhookWorker
    forwarding: Forwarding
    journal: ApiJournal

    def stop(self) -> None:
        """Begin to end: nothing more is accepted."""
        self.server.stop()

    async def run(self) -> None:
        """Serve until stopped; what is under way is answered, and the batch in work ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.inbox.run())
            group.create_task(self.worker.run())
            group.create_task(self.forwarding.run())
            try:
                await self.server.run_until_stopped()
            finally:
                self.worker.stop()
                self.forwarding.stop()
                self.inbox.stop()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a head and a body may take to come, and what a silent process holds is left to it, in seconds."""

    head_s: float = HEAD_TIMEOUT_S
    body_s: float = BODY_TIMEOUT_S
    take_over_s: float = webhook_worker.TAKE_OVER_AFTER_S
    take_over_forwards_s: float = forwarding.TAKE_OVER_AFTER_S


def opt_out_words(settings: Settings) -> Words:
    """Read the opt-out words, and see that webhooks can be checked.

    Raises:
        SettingsError: With everything that is wrong, at once.
    """
    problems: list[str] = []
    if not settings.app_secrets:
        problems.append(f"{PREFIX}APP_SECRETS: webhooks cannot be checked without it; give the app's secret")
    words = Words.default()
    if settings.opt_out_words_file is not None:
        words = _load_words(settings.opt_out_words_file, problems)
    if problems:
        raise errors.SettingsError(tuple(problems))
    return words


def _load_words(path: Path, problems: list[str]) -> Words:
    try:
        return Words.load(path)
    except errors.SettingsError as exc:
        problems += [f"{PREFIX}OPT_OUT_WORDS_FILE: {problem}" for problem in exc.problems]
        return Words()


@asynccontextmanager
async def assembled(
    settings: Settings,
    words: Words,
    listener: socket.socket,
    metrics: ApiMetrics,
    timeouts: Timeouts = Timeouts(),
) -> AsyncIterator[Api]:
    """Put a process together; on leaving, its connections are closed.

    Raises:
        SettingsError: The cell's data is of a later release.
    """
    cell, process = Cell.of(settings), process_name()
    journal = harmless(ApiJournal(metrics, process), metrics.observer_errors)
    redis = connect(settings.redis_url.get_secret_value(), cell, timeout_s=settings.redis_timeout_s)
    # one each, so that an answer waits neither for a batch in work nor for what is passed on
    pipelines = [Pipeline(redis, journal.round_trip) for _ in range(3)]
    for_answers, for_work, for_forwards = pipelines
    worker = WebhookWorker(for_work, cell, process, words, journal, take_over_after_s=timeouts.take_over_s)
    forwards = Forwarding(for_forwards, cell, process, settings, journal, timeouts.take_over_forwards_s)
    inbox = Inbox(for_answers, cell, process, forwards, journal)
    endpoint = WebhookEndpoint(inbox, worker, _credentials(settings), journal, BodyReader(timeouts.body_s))
    server = HttpServer(application(endpoint, inbox), listener, timeouts.head_s)
    try:
        await for_answers.follow(check_schema())
        yield Api(server, inbox, worker, forwards, journal)
    finally:
        for pipeline in pipelines:
            await pipeline.idle()
        await forwards.aclose()
        await redis.aclose()


def application(endpoint: WebhookEndpoint, inbox: Inbox) -> Starlette:
    """Return what answers requests."""

    async def health(_: Request) -> JSONResponse:
        is_well = inbox.is_well
        return JSONResponse({"redis": "ok" if is_well else "away"}, 200 if is_well else 503)

    app = Starlette(routes=[Route(WEBHOOKS, endpoint), Route(HEALTH, health, methods=["GET"])])
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
        SettingsError: Settings are missing or wrong, a port is taken, or the cell's data is of a later release.
    """
    words = opt_out_words(settings)
    logs.set_up(settings.log_level, settings.log_format)
    with listen(settings.api_host, settings.api_port) as listener:
        freeze()
        allow_sockets()
        uvloop.run(_run(settings, words, listener, on_listening))


async def _run(settings: Settings, words: Words, listener: socket.socket, on_listening: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once."""
    metrics = ApiMetrics(CollectorRegistry())
    server = serve_metrics(metrics, settings.metrics_port) if settings.metrics_port else None
    try:
        async with assembled(settings, words, listener, metrics) as api:
            _handle_signals(api)
            url = address_of(listener)
            api.journal.process_event(logs.PROCESS_STARTED, url=url, redis=settings.redis_address)
            on_listening(url)
            await api.run()
            api.journal.process_event(logs.PROCESS_STOPPED)
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)


def _handle_signals(api: Api) -> None:
    def stop(name: str) -> None:
        api.journal.process_event(logs.PROCESS_STOPPING, signal=name)
        api.stop()

    end_on_signals(stop, STOP_LIMIT_S)
