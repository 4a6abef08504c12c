"""Logs: one way out for everything, and nothing secret or personal on it."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dispatcher.observe import logs

TOKEN = "EAAGm0PX4ZCpsBAKZCabcdefghij"


def events(out: io.StringIO) -> list[dict[str, Any]]:
    """What was written, without the time, which every line has."""
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert all(line.pop("timestamp").endswith("Z") for line in lines)
    return lines


def redacted(**event: object) -> dict[str, Any]:
    return dict(logs.redact(None, "info", event))


def test_an_event_is_one_line_of_json(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    structlog.contextvars.bind_contextvars(cell="main")
    structlog.get_logger().info(logs.ATTEMPT_ENDED, key="order-4411", to="+15551234567", outcome="accepted", attempt=1)
    assert events(out) == [
        {
            "cell": "main",
            "key": "order-4411",
            "to": "+1555•••4567",
            "outcome": "accepted",
            "attempt": 1,
            "event": "attempt.ended",
            "level": "info",
        }
    ]


def test_half_a_surrogate_pair_is_escaped(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    structlog.get_logger().info(logs.INTAKE_REFUSED, job="\ud83d", text="naïve 💬")
    assert events(out) == [{"job": "\ud83d", "text": "naïve 💬", "event": "intake.refused", "level": "info"}]


async def test_lines_of_one_moment_go_out_together_soon(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    for attempt in range(3):
        structlog.get_logger().info(logs.ATTEMPT_ENDED, attempt=attempt)
    assert out.getvalue() == ""
    await asyncio.sleep(2 * logs._HELD_S)
    assert [event["attempt"] for event in events(out)] == [0, 1, 2]
    structlog.get_logger().info(logs.ATTEMPT_ENDED, attempt=3)
    await asyncio.sleep(2 * logs._HELD_S)
    assert len(events(out)) == 4


async def test_a_warning_goes_out_at_once_after_what_was_held(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    structlog.get_logger().info(logs.ATTEMPT_ENDED)
    structlog.get_logger().warning(logs.GATE_CLOSED)
    logging.getLogger("asyncio").error("trouble")
    assert [event["event"] for event in events(out)] == ["attempt.ended", "gate.closed", "trouble"]


async def test_a_line_of_another_thread_goes_out_at_once_and_whole(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    threads = [threading.Thread(target=structlog.get_logger().info, args=("thread.told",)) for _ in range(20)]
    for thread in threads:
        thread.start()
        structlog.get_logger().info(logs.ATTEMPT_ENDED)
    for thread in threads:
        thread.join()
    structlog.get_logger().error(logs.TASK_FAILED)
    assert len(events(out)) == 41


def test_what_is_held_when_the_process_ends_is_not_lost() -> None:
    told = "structlog.get_logger().info('process.stopped')"
    script = f"import structlog; from dispatcher.observe import logs; logs.set_up()\nasync def main(): {told}\n"
    command = [sys.executable, "-c", f"{script}import asyncio; asyncio.run(main())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["process.stopped"]


def test_what_others_log_goes_the_same_way(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    logging.getLogger("asyncio").warning("slow task for %s", "+15551234567")
    assert events(out) == [
        {"event": "slow task for +1555•••4567", "logger": "asyncio", "level": "warning"},
    ]


async def test_trouble_of_the_event_loop_comes_out_as_json(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    asyncio.get_running_loop().call_exception_handler({"message": "callback failed"})
    assert events(out) == [{"event": "callback failed", "logger": "asyncio", "level": "error"}]


def test_warnings_are_logged(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn_explicit("call +15551234567", UserWarning, "file.py", 3)
    assert events(out) == [
        {"event": "file.py:3: UserWarning: call +1555•••4567\n", "logger": "py.warnings", "level": "warning"}
    ]


def test_chatty_libraries_are_heard_from_warnings_on(out: io.StringIO) -> None:
    logs.set_up("DEBUG", stream=out)
    for name in ("arq.worker", "httpcore.http11", "httpx", "pyreqwest"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    assert [(event["logger"], event["event"]) for event in events(out)] == [
        ("arq.worker", "trouble"),
        ("httpcore.http11", "trouble"),
        ("httpx", "trouble"),
        ("pyreqwest", "trouble"),
    ]


def test_the_level_holds_for_all(out: io.StringIO) -> None:
    logs.set_up("ERROR", stream=out)
    structlog.get_logger().warning(logs.REDIS_LOST)
    logging.getLogger("arq.worker").warning("trouble")
    logging.getLogger("asyncio").warning("trouble")
    assert out.getvalue() == ""


@pytest.mark.parametrize("style", ["json", "console"])
def test_tracebacks_show_no_locals_and_no_secrets(out: io.StringIO, style: logs.Format) -> None:
    logs.set_up(stream=out, style=style)
    local = "wall-paper"
    try:
        raise ValueError(f"Bearer {TOKEN} for +15551234567 {len(local)}")
    except ValueError:
        structlog.get_logger().exception(logs.TASK_FAILED)
        logging.getLogger("asyncio").exception("task failed")
    written = out.getvalue()
    assert not {word for word in ("wall-paper", TOKEN, "5551234567", '"locals"') if word in written}
    assert written.count("Bearer ••• for +1555•••4567 10") == 2


def test_a_traceback_is_data(out: io.StringIO) -> None:
    logs.set_up(stream=out)
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception(logs.TASK_FAILED)
    (event,) = events(out)
    (error,) = event["exception"]
    assert (event["event"], error["exc_type"], error["exc_value"]) == ("task.failed", "ValueError", "no")
    assert [set(frame) for frame in error["frames"]] == [{"filename", "lineno", "name"}]


def test_people_get_lines_they_can_read(out: io.StringIO) -> None:
    logs.set_up(style="console", stream=out)
    structlog.get_logger().info(logs.GATE_CLOSED, number="106540352242922")
    time, rest = out.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == "[info     ] gate.closed                    number=106540352242922\n"


@pytest.mark.parametrize(
    "field", ["token", "access_token", "Authorization", "app-secret", "body", "content", "callback_data", "headers"]
)
@pytest.mark.parametrize("value", ["x", b"x", None, {"deep": "x"}, 3])
def test_secret_fields_are_masked_whatever_they_hold(field: str, value: object) -> None:
    assert redacted(**{field: value}) == {field: "•••"}
    assert redacted(outer=[{field: value}]) == {"outer": [{field: "•••"}]}


def test_names_that_only_resemble_secret_ones_are_left() -> None:
    assert redacted(token_fingerprint="ab12", body_bytes=400) == {"token_fingerprint": "ab12", "body_bytes": 400}


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("+15551234567", "+1555•••4567"),
        ("to +491721234567, then +15551234567.", "to +4917•••4567, then +1555•••4567."),
        ("+1234567", "+•••4567"),
        ("+123456789", "+12•••6789"),
        ("+123456789012345", "+1234•••2345"),
        ("+123456", "+123456"),
        ("+1234567890123456", "+1234567890123456"),
        ("2026-11-22T15:00:00+0100", "2026-11-22T15:00:00+0100"),
        ("+1555•••4567", "+1555•••4567"),
        ("number 106540352242922", "number 106540352242922"),
        (f"authorization: bearer {TOKEN}x, more", "authorization: bearer ••• more"),
        (f"{{'Authorization': 'Bearer {TOKEN}'}}", "{'Authorization': 'Bearer •••'}"),
        (f"?access_token={TOKEN}&x=1", "?access_token=•••&x=1"),
        ("redis://user:wall-paper@host:6379/0", "redis://•••@host:6379/0"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_secrets_and_phone_numbers_in_any_text_are_masked(text: str, safe: str) -> None:
    masked = {"text": safe, "deep": [{safe: safe}], "error": f"ValueError({safe!r})"}
    assert redacted(text=text, deep=({text: text},), error=ValueError(text)) == masked


def test_values_that_are_no_text_are_written_safely() -> None:
    assert redacted(raw=b"secret", secret_value=SecretStr("wall-paper"), number=3, ratio=0.5, none=None, yes=True) == {
        "raw": "<6 bytes>",
        "secret_value": "**********",
        "number": 3,
        "ratio": 0.5,
        "none": None,
        "yes": True,
    }


@given(st.text(), st.from_regex(r"\+[0-9]{7,15}", fullmatch=True))
def test_no_phone_number_passes_whatever_stands_around_it(text: str, phone: str) -> None:
    assert phone not in logs.masked(f"{text} {phone} {text}").replace(text, "")


@given(st.text())
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert logs.masked(logs.masked(text)) == logs.masked(text)


def test_event_names_are_a_noun_and_a_verb() -> None:
    names = [value for name, value in vars(logs).items() if name.isupper() and name not in {"MASK"} and name[0] != "_"]
    assert len(names) > 10
    assert [name for name in names if len(name.split(".")) != 2] == []
