"""Tells from events how each message stands, what was uncertain and how that ended. Pure; knows no Redis."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from dispatcher.lab.evidence import Doubt, Way, kind_of

UNCERTAIN: Final = "uncertain"
ACCEPTED: Final = "accepted"
_RESENT: Final = "resend"
_WAITING: Final = frozenset({"retry", "snoozed", _RESENT})
_RECEIPTS: Final = frozenset({"sent", "delivered", "read", "played", "failed"})
_NO_STATES: Final = _RECEIPTS | {"duplicate"}


class Chronicle:
    """How it stands after the events so far.

    `counts` are messages by number, kind and state, where an accepted one stays accepted whatever receipts say;
    `receipt_counts` are receipts by number and status.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.receipt_counts: Counter[tuple[str, str]] = Counter()
        self.receipts: dict[str, set[str]] = {}
        self.heard: set[str] = set()
        self._states: dict[str, str] = {}
        self._accepted_at: dict[str, str] = {}
        self._doubts: dict[str, list[Doubt]] = {}

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Every uncertain send, in the order in which they became so."""
        found = (doubt for doubts in self._doubts.values() for doubt in doubts)
        return tuple(sorted(found, key=lambda doubt: doubt.at_s))

    def state(self, key: str) -> str:
        """Return how a message stands; empty if nothing was heard of it, or if it waits again."""
        state = self._states.get(key, "")
        return "" if state in _WAITING else state

    def note(self, event: Mapping[str, str], at_s: float) -> None:
        """Add an event, which happened at `at_s`."""
        kind, key, number = event["type"], event["key"], event["number"]
        if kind in _RECEIPTS:
            self._note_receipt(event)
        if kind in _NO_STATES:
            return
        if before := self._states.get(key):
            self.counts[number, kind_of(key), before] -= 1
        self._states[key] = kind
        self.counts[number, kind_of(key), kind] += 1
        if kind == ACCEPTED:
            self._accepted_at[key] = event["at"]
        self._note_doubt(event, at_s)

    def _note_receipt(self, event: Mapping[str, str]) -> None:
        key, status = event["key"], event["type"]
        if status not in self.receipts.setdefault(key, set()):
            self.receipts[key].add(status)
            self.receipt_counts[event["number"], status] += 1
        # one script tells of a receipt and of the acceptance that it proves, so both have the same time
        if len(self.receipts[key]) == 1 and self._accepted_at.get(key) == event["at"]:
            self.heard.add(key)
            if (doubts := self._doubts.get(key)) and doubts[-1].way is Way.OTHERWISE:
                doubts[-1] = replace(doubts[-1], way=Way.RECEIPT)

    def _note_doubt(self, event: Mapping[str, str], at_s: float) -> None:
        kind, key = event["type"], event["key"]
        doubts = self._doubts.get(key, [])
        if doubts and doubts[-1].ended_at_s is None:
            doubts[-1] = _moved(doubts[-1], event, at_s)
        if kind == UNCERTAIN:
            self._doubts.setdefault(key, doubts).append(Doubt(key, at_s, event["error"]))


def _moved(doubt: Doubt, event: Mapping[str, str], at_s: float) -> Doubt:
    """Return what an event of its message makes of a doubt that has not ended."""
    if event["type"] == _RESENT:
        way = Way.ABSENCE if event["cause"] == Way.ABSENCE else Way.UNPROVEN
        return replace(doubt, way=way, decided_at_s=at_s)
    if event["type"] in _WAITING:
        return doubt
    if doubt.way is not Way.OPEN:
        return replace(doubt, ended_at_s=at_s)
    is_held = event["type"] == "dead" and event["cause"] == Way.HELD
    way, why = (Way.HELD, event["error"]) if is_held else (Way.OTHERWISE, "")
    return replace(doubt, way=way, decided_at_s=at_s, ended_at_s=at_s, why=why)
