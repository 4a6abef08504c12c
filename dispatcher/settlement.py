"""Turns a verdict into the settlement that Redis is told. Pure."""

from typing import assert_never

from dispatcher.flights import Flight
from dispatcher.lanes.serving import US, Settlement
from dispatcher.policy.outcome import Accepted, Close, Doubt, Open, Reject, RetryLater, Snooze, Uncertain, Verdict


def settlement(flight: Flight, verdict: Verdict, credential: str) -> Settlement:
    """Say what became of a flight; `credential` is the fingerprint of the token that was used."""
    found = Settlement(flight.message, flight.number, flight.claimed_at_us, outcome="")
    match verdict.outcome:
        case Accepted(wamid):
            found.outcome, found.value = "accepted", wamid
        case RetryLater(after_s, error):
            found.outcome, found.value, found.error = "retry", round(after_s * US), error
        case Snooze(error, after_s):
            found.outcome, found.value, found.error = "snooze", _microseconds(after_s), error
        case Reject(error):
            found.outcome, found.error = "reject", error
        case Uncertain(error):
            found.outcome, found.error = "uncertain", error
        case _ as never:
            assert_never(never)
    match verdict.gate:
        case Close(why, for_s):
            found.gate, found.gate_for_us, found.why, found.credential = "close", round(for_s * US), why, credential
        case Doubt(for_s):
            found.gate, found.gate_for_us, found.why = "doubt", round(for_s * US), "uncertain"
        case Open():
            found.gate = "open"
        case None:
            pass
        case _ as none:
            assert_never(none)
    return found


def released(flight: Flight) -> Settlement:
    """Give a message back that was claimed and not posted; costs nothing."""
    return Settlement(flight.message, flight.number, flight.claimed_at_us, "release")


def _microseconds(seconds: float | None) -> int | str:
    return "" if seconds is None else round(seconds * US)
