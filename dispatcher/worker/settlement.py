"""Turns a verdict into the settlement that Redis is told. Pure."""

from typing import assert_never

from dispatcher.worker.in_flight import Flight
from dispatcher.store.work import US, Settlement
from dispatcher.policy.backoff import CAP_S
from dispatcher.policy.outcome import (
    Accepted,
    Close,
    Doubt,
    GateChange,
    Open,
    Outcome,
    Reject,
    RetryLater,
    Snooze,
    Uncertain,
    Verdict,
    Why,
)

INTERNAL_ERROR = "internal error"
# What a bug kept from its POST may meet the same bug again at once: others go first.
POSTPONED_S = 5.0


def settlement(flight: Flight, verdict: Verdict, credential: str) -> Settlement:
    """Say what became of a flight; `credential` is the fingerprint of the token that was used."""
    found = Settlement(flight.message, flight.number, flight.claimed_at_us, outcome="")
    _write_outcome(found, verdict.outcome)
    _write_gate(found, verdict.gate, credential)
    return found


def _write_outcome(found: Settlement, outcome: Outcome) -> None:
    match outcome:
        case Accepted(wamid, held):
            found.outcome, found.value, found.error = "accepted", wamid, "held" if held else ""
        case RetryLater(after_s, error):
            found.outcome, found.value, found.error = "retry", round(after_s * US), error
        case Snooze(error, after_s):
            found.outcome, found.value, found.error = "snooze", "" if after_s is None else round(after_s * US), error
        case Reject(error):
            found.outcome, found.error = "reject", error
        case Uncertain(error):
            found.outcome, found.error = "uncertain", error
        case _ as never:
            assert_never(never)


def _write_gate(found: Settlement, change: GateChange | None, credential: str) -> None:
    match change:
        case Close(why, for_s):
            found.gate, found.gate_for_us, found.why, found.credential = "close", round(for_s * US), why, credential
        case Doubt(for_s):
            found.gate, found.gate_for_us, found.why = "doubt", round(for_s * US), Why.UNCERTAIN
        case Open():
            found.gate = "open"
        case None:
            pass
        case _ as never:
            assert_never(never)


def released(flight: Flight) -> Settlement:
    """Give a message back that was claimed and not posted; costs nothing."""
    return Settlement(flight.message, flight.number, flight.claimed_at_us, "release")


def postponed(flight: Flight) -> Settlement:
    """Give a message back for 5 s, as a bug of ours showed before its POST began; costs nothing."""
    return Settlement(
        flight.message, flight.number, flight.claimed_at_us, "snooze", round(POSTPONED_S * US), INTERNAL_ERROR
    )


def uncertain(flight: Flight) -> Settlement:
    """Say that a message may have been accepted, as a bug of ours showed once its POST may have begun.

    The fifth in a row closes the gate for as long as anything does: a bug that meets every message must not make all
    that wait uncertain.
    """
    return Settlement(
        flight.message,
        flight.number,
        flight.claimed_at_us,
        "uncertain",
        error=INTERNAL_ERROR,
        gate="doubt",
        gate_for_us=round(CAP_S * US),
        why=Why.UNCERTAIN,
    )
