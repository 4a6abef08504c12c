"""How logs are written: one line an event, JSON or for people, with secrets and recipients masked on the way out.

What other libraries log goes the same way. It must not know what happens in the process; callers choose an event's name
from the constants here, and its fields.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO

import structlog
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper, format_exc_info
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

ATTEMPT_ENDED: Final = "attempt.ended"
CHILD_ENDED: Final = "child.ended"
DUPLICATE_FOUND: Final = "duplicate.found"
GATE_CLOSED: Final = "gate.closed"
INTAKE_REFUSED: Final = "intake.refused"
INTAKE_RESTARTED: Final = "intake.restarted"
LEASES_ENDED: Final = "leases.ended"
LOOP_LAGGED: Final = "loop.lagged"
MESSAGE_DIED: Final = "message.died"
NUMBER_TAKEN: Final = "number.taken"
NUMBERS_REFUSED: Final = "numbers.refused"
NUMBERS_RELOADED: Final = "numbers.reloaded"
PROCESS_STARTED: Final = "process.started"
PROCESS_STOPPED: Final = "process.stopped"
PROCESS_STOPPING: Final = "process.stopping"
REDIS_LOST: Final = "redis.lost"
REDIS_REGAINED: Final = "redis.regained"
REDIS_WARNED: Final = "redis.warned"
TASK_FAILED: Final = "task.failed"

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
_CHATTY: Final = ("arq", "httpcore", "httpx", "pyreqwest")
_BEARER: Final = re.compile(r"(?i)\b(bearer)\s+[^\s'\"]+")
_META_TOKEN: Final = re.compile(r"\bEAA[A-Za-z0-9]{12,}")
_URL_PASSWORD: Final = re.compile(r"://[^/\s@]*@")
# Most texts are short names and ids: looking once for what they all lack is several times faster than four searches.
_SUSPECT: Final = re.compile(r"[+@]|EAA|[Ee][Aa][Rr][Ee][Rr]")
_PHONE: Final = re.compile(r"(?<!\d)\+(\d{7,15})(?!\d)")


def set_up(level: Level = "INFO", style: Format = "json", stream: TextIO | None = None) -> None:
    """Send structlog's events and the standard library's records to `stream` (default: stderr), as lines of `style`.

    Replaces what was set up before; call it once, where a process begins.
    """
    out = sys.stderr if stream is None else stream
    stamp: list[Processor] = [structlog.stdlib.add_log_level, TimeStamper(fmt="iso", utc=True)]
    finish = _finish(style, colours=out.isatty())
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *stamp, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
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
    return {name: _masked_field(name, value) for name, value in event.items()}


def masked(text: str) -> str:
    """Return the text with bearer tokens, Meta's tokens, passwords in URLs and phone numbers masked."""
    if _SUSPECT.search(text) is None:
        return text
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _META_TOKEN.sub(MASK, text)
    text = _URL_PASSWORD.sub(f"://{MASK}@", text)
    return _PHONE.sub(_masked_phone, text)


def _finish(style: Format, *, colours: bool) -> list[Processor]:
    # Locals in a traceback would show httpx's requests, and with them the token.
    if style == "json":
        tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False, use_rich=False))
        return [tracebacks, redact, JSONRenderer(ensure_ascii=False)]
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return [format_exc_info, redact, console]


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
