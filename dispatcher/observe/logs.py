"""How logs are written: one line an event, JSON or for people, with secrets and recipients masked on the way out.

What other libraries log goes the same way. It must not know what happens in the process; callers choose an event's name
from the constants here, and its fields.
"""

import asyncio
import atexit
import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import pydantic_core
import structlog
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper, format_exc_info
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

ATTEMPT_ENDED: Final = "attempt.ended"
BODY_KEPT_ASIDE: Final = "body.kept_aside"
CHILD_ENDED: Final = "child.ended"
DUPLICATE_FOUND: Final = "duplicate.found"
FORWARD_FAILING: Final = "forward.failing"
FORWARD_GIVEN_UP: Final = "forward.given_up"
FORWARD_RECOVERED: Final = "forward.recovered"
GATE_CLOSED: Final = "gate.closed"
INTAKE_REFUSED: Final = "intake.refused"
INTAKE_RESTARTED: Final = "intake.restarted"
LEASES_ENDED: Final = "leases.ended"
LOOP_LAGGED: Final = "loop.lagged"
MESSAGE_DIED: Final = "message.died"
NUMBERS_REFUSED: Final = "numbers.refused"
NUMBERS_RELOADED: Final = "numbers.reloaded"
OBSERVER_FAILED: Final = "observer.failed"
PROCESS_STARTED: Final = "process.started"
PROCESS_STOPPED: Final = "process.stopped"
PROCESS_STOPPING: Final = "process.stopping"
REDIS_LOST: Final = "redis.lost"
REDIS_REGAINED: Final = "redis.regained"
REDIS_WARNED: Final = "redis.warned"
TASK_FAILED: Final = "task.failed"
WEBHOOKS_MISSED: Final = "webhooks.missed"

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Format = Literal["json", "console"]

MASK: Final = "•••"
_SECRET_FIELDS: Final = frozenset(
    {
        *("access_token", "app_secret", "app_secrets", "authorization", "cookie", "password", "redis_url", "secret"),
        *("token", "verify_token"),
        *(
            "args",
            "body",
            "bodies",
            "callback_data",
            "content",
            "headers",
            "json",
            "kwargs",
            "payload",
            "template_components",
        ),
    }
)
_CHATTY: Final = ("arq", "httpcore", "httpx", "pyreqwest", "uvicorn")
_BEARER: Final = re.compile(r"(?i)\b(bearer)\s+[^\s'\"]+")
_META_TOKEN: Final = re.compile(r"\bEAA[A-Za-z0-9]{12,}")
_URL_PASSWORD: Final = re.compile(r"://[^/\s@]*@")
_PHONE: Final = re.compile(r"(?<!\d)\+(\d{7,15})(?!\d)")

# Of the one event that each message has, what is ours and typed, or masked by its writer, is not looked through again.
_OURS: Final = frozenset(
    {
        *("event", "level", "timestamp", "process"),
        *("claim", "number", "lane", "recipient", "outcome", "code", "duration_ms"),
    }
)
_HELD_S: Final = 0.05


class HeldLines:
    """Writes finished lines to `out`: inside an event loop the harmless ones together, every _HELD_S seconds.

    What is a warning or worse goes out at once, and all that was held before it.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._held: list[str] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that will call `flush`."""

    def info(self, line: str) -> None:
        """Write a line soon; at once where no event loop runs."""
        self.write(f"{line}\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if loop is not self._loop:
            self._loop = loop
            loop.call_later(_HELD_S, self.flush)

    def warning(self, line: str) -> None:
        """Write a line now."""
        self.write(f"{line}\n")
        self.flush()

    debug, error, critical = info, warning, warning

    def write(self, text: str) -> None:
        """Write text with the next `flush`, as a stream does."""
        with self._lock:
            self._held.append(text)

    def flush(self) -> None:
        """Write what is held."""
        with self._lock:
            self._loop = None
            held, self._held = self._held, []
            if held:
                self._out.write("".join(held))
                self._out.flush()


def set_up(level: Level = "INFO", style: Format = "json", stream: TextIO | None = None) -> None:
    """Send structlog's events and the standard library's records to `stream` (default: stderr), as lines of `style`.

    Replaces what was set up before; call it once, where a process begins.
    """
    out = sys.stderr if stream is None else stream
    lines = HeldLines(out)
    atexit.register(lines.flush)
    stamp: list[Processor] = [structlog.stdlib.add_log_level, TimeStamper(fmt="iso", utc=True)]
    finish = _finish(style, colours=out.isatty())
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *stamp, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *stamp],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        # arq logs arguments, httpx URLs, at INFO.
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's interface
    """Mask what no log may show: secret fields whatever they hold; tokens, passwords and phone numbers in any text."""
    ours = _OURS if event.get("event") == ATTEMPT_ENDED else ()
    return {name: value if name in ours else _masked_field(name, value) for name, value in event.items()}


def masked(text: str) -> str:
    """Return the text with bearer tokens, Meta's tokens, passwords in URLs and phone numbers masked."""
    # Most texts are short names and ids: to look for what they all lack is far faster than four searches.
    if "+" not in text and "@" not in text and "EAA" not in text and "earer" not in text.lower():
        return text
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _META_TOKEN.sub(MASK, text)
    text = _URL_PASSWORD.sub(f"://{MASK}@", text)
    return _PHONE.sub(_masked_phone, text)


def _finish(style: Format, *, colours: bool) -> list[Processor]:
    # Locals in a traceback would show httpx's requests, and with them the token.
    if style == "json":
        tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False, use_rich=False))
        return [tracebacks, redact, JSONRenderer(_json)]
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return [format_exc_info, redact, console]


def _json(event: EventDict, **_: Any) -> str:
    """Render what `redact` has left, which is plain; half a surrogate pair is more than JSON in UTF-8 can hold."""
    try:
        return pydantic_core.to_json(event).decode()
    except ValueError:
        return json.dumps(event)


def _masked_field(name: object, value: object) -> object:
    return MASK if str(name).lower().replace("-", "_") in _SECRET_FIELDS else _masked_value(value)


def _masked_value(value: object) -> object:
    match value:
        case str():
            return masked(value)
        case None | bool() | int() | float():
            return value
        case bytes():
            return f"<{len(value)} bytes>"
        case Mapping():
            return {_masked_value(name): _masked_field(name, item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked_value(item) for item in value]
        case BaseException():
            return masked(repr(value))
    return masked(str(value))


def _masked_phone(found: re.Match[str]) -> str:
    """Keep the last four digits and up to four of the first, and hide three at least."""
    digits = found[1]
    return f"+{digits[: min(4, len(digits) - 7)]}{MASK}{digits[-4:]}"
