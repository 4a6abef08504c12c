"""One message as Redis knows it, for people and programs that ask how it stands."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PRIORITY_WORDS = ("urgent", "normal", "bulk")


@dataclass(frozen=True, slots=True)
class Record:
    """How a message stands. While it waits, `cause` says for what; of a dead one, what it died of.

    `unproven` counts how often it was posted again without proof, `others` are the further ids of one accepted twice.
    """

    key: str
    state: str
    cause: str
    number: str
    priority: str
    recipient: str
    attempts: int
    wamid: str
    error: str
    enqueued_at: datetime | None
    due_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime | None
    expires_at: datetime | None
    unproven: int = 0
    others: str = ""


def record(key: str, reply: bytes) -> Record:
    """Read the answer of `look.lua`."""
    found = json.loads(reply.decode(errors="replace"))
    fields: dict[str, str] = found["record"]
    waiting = found.get("waiting")
    cause = waiting_for(waiting, fields, int(found["now"])) if waiting else fields.get("cause", "")
    state = fields.get("state", "dead")
    if cause == "expired":
        state, cause = cause, ""  # from the second on; the books follow
    priority = fields.get("priority", "")
    return Record(
        key=key,
        state=state,
        cause=cause,
        number=fields.get("number", ""),
        priority=PRIORITY_WORDS[int(priority)] if priority in {"0", "1", "2"} else "",
        recipient=fields.get("to", ""),
        attempts=round(read_number(fields.get("attempts")) or 0),
        wamid=fields.get("wamid", ""),
        error=fields.get("error", ""),
        enqueued_at=moment(fields.get("enqueued")),
        due_at=moment(waiting["place"] if waiting else fields.get("due")),
        claimed_at=moment(fields.get("claimed")),
        settled_at=moment(fields.get("settled")),
        expires_at=moment(fields.get("expires")),
        unproven=round(read_number(fields.get("unproven")) or 0),
        others=fields.get("others", ""),
    )


def waiting_for(waiting: dict[str, Any], fields: dict[str, str], now_us: int) -> str:
    """Name what a queued message waits for; what a person must do something about comes first."""
    place_us = float(waiting["place"])
    if float(fields["expires"]) <= now_us:
        return "expired"
    if waiting["stopped"]:
        return f"stopped:{waiting['stopped']}"
    if place_us > now_us:
        return "pair" if fields.get("error", "").startswith("131056") else "not_before"
    if not waiting["served"]:
        return "no_worker"
    if float(waiting["till"]) > now_us:
        return "blocked"
    return "rate"


def moment(us: object) -> datetime | None:
    """Read a time in µs; None where there is none, or nonsense."""
    number = read_number(us)
    try:
        return datetime.fromtimestamp(number / 1_000_000, UTC) if number else None
    except (OverflowError, ValueError, OSError):
        return None


def read_object(row: bytes) -> dict[str, Any]:
    """Read a JSON object; empty where it cannot be read."""
    try:
        found = json.loads(row)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_number(given: object) -> float | None:
    """Read a finite number; None where there is none."""
    try:
        number = float(str(given))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
