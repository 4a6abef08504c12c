"""Tells what came of a run: as one JSON object, or as tables for people. Decides nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from dispatcher.lab import figures, judge
from dispatcher.lab.deployment import (
    HTTP_TIMEOUT_S,
    HTTP_TIMEOUT_URGENT_S,
    MESSAGE_LEASE_MARGIN_S,
    UNCERTAIN_WINDOW_S,
    UNCERTAIN_WINDOW_URGENT_S,
    Options,
)
from dispatcher.lab.evidence import Evidence, Exit, Way, Webhooks
from dispatcher.lab.figures import KillFigures, NumberFigures, Resolution, Totals, Waits
from dispatcher.lab.judge import Promise

SHORTENED: Final = (
    f"To end soon, the workers run with shorter times than their defaults: POST deadline {HTTP_TIMEOUT_S:g} s (15), "
    f"urgent {HTTP_TIMEOUT_URGENT_S:g} s (6), margin of the message lease {MESSAGE_LEASE_MARGIN_S:g} s (6), uncertain "
    f"window {UNCERTAIN_WINDOW_S:g} s (60), urgent {UNCERTAIN_WINDOW_URGENT_S:g} s (10)."
)
PROOF: Final = (
    "What is uncertain may have been accepted. A receipt proves that it was. That none came proves that it was not, "
    "once its window is over and one has come for a later message of the same number and template: only then is it "
    "sent again, the one-time passwords too, whose policy is evidence here, not their default, resend."
)
TRICKLE: Final = (
    "For those receipts a trickle of messages goes on where something is uncertain, as it would in any running "
    "system; they are counted and judged like all others."
)


NOT_JUDGED: Final = (
    "Waits and use of the rate are shown, not judged: bulk waits for its rate, and both throttling and the kill pause "
    'a number, for one-time passwords, too. "gate open" leaves those pauses out.'
)
_LANE_WORDS: Final = {figures.UNDISTURBED: "urgent, gate open"}
_WAY_WORDS: Final = {
    Way.RECEIPT: "accepted, says a receipt",
    Way.ABSENCE: "sent again on proof of absence",
    Way.UNPROVEN: "sent again without proof",
    Way.HELD: "held for a person",
    Way.OTHERWISE: "settled otherwise",
    Way.OPEN: "uncertain still",
}
_EXPECTED_WAYS: Final = frozenset({Way.RECEIPT, Way.ABSENCE, Way.UNPROVEN, Way.HELD})
_QUOTED: Final = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is summary."""

    totals: Totals
    waits: Mapping[str, Waits]
    numbers: Sequence[NumberFigures]
    resolution: Resolution
    webhooks: Webhooks
    killed: KillFigures
    killed_worker: str
    served_again_s: Mapping[str, float | None]
    promises: Sequence[Promise]
    exits: Sequence[Exit]
    seconds: float
    troubles: Sequence[str]

    @property
    def is_ok(self) -> bool:
        """Whether all promises held."""
        return all(promise.is_held for promise in self.promises)


def summary(evidence: Evidence) -> Summary:
    """Work out all that is summary."""
    return Summary(
        figures.totals(evidence),
        figures.waits(evidence),
        figures.numbers(evidence),
        figures.resolution(evidence),
        evidence.webhooks,
        figures.killed(evidence),
        evidence.kill.worker,
        judge.served_again_s(evidence),
        judge.judge(evidence),
        evidence.exits,
        evidence.seconds,
        evidence.troubles,
    )


def as_json(summary: Summary, options: Options) -> str:
    """Write the summary as one JSON object."""
    return json.dumps(
        {
            "ok": summary.is_ok,
            "seconds": _short(summary.seconds),
            "size": {"messages": options.messages, "numbers": options.numbers, "rate": options.rate,
                     "workers": options.workers},
            "times": {"http_timeout_s": HTTP_TIMEOUT_S, "http_timeout_urgent_s": HTTP_TIMEOUT_URGENT_S,
                      "message_lease_margin_s": MESSAGE_LEASE_MARGIN_S, "uncertain_window_s": UNCERTAIN_WINDOW_S,
                      "uncertain_window_urgent_s": UNCERTAIN_WINDOW_URGENT_S},
            "messages": asdict(summary.totals),
            "uncertain": figures.resolution_as_dict(summary.resolution),
            "webhooks": _webhooks_as_json(summary.webhooks),
            "enqueue_to_post": {name: _rounded(asdict(waits)) for name, waits in summary.waits.items()},
            "numbers": {number.number: _rounded(asdict(number)) for number in summary.numbers},
            "killed": {"worker": summary.killed_worker, **asdict(summary.killed),
                       "served_again_s": _rounded(summary.served_again_s)},
            "stopped": {stop.process: {"code": stop.code, "took_s": _short(stop.took_s)} for stop in summary.exits},
            "errors_logged": len(summary.troubles),
            "promises": {
                promise.name: {"words": promise.words, "held": promise.is_held, "broken": promise.broken}
                for promise in summary.promises
            },
        }
    )  # fmt: skip


def _webhooks_as_json(webhooks: Webhooks) -> dict[str, object]:
    return _rounded(
        {
            "made": webhooks.made,
            "sent_twice": webhooks.duplicated,
            "not_200": webhooks.refused,
            "not_delivered": webhooks.waiting,
            "statuses": dict(webhooks.statuses),
            "slowest_answer_ms": webhooks.slowest_ms,
        }
    )


def failure_as_json(why: str) -> str:
    """Write that there is nothing to tell, and why."""
    return json.dumps({"ok": False, "error": why})


def tell(summary: Summary, console: Console, names: Mapping[str, str]) -> None:
    """Print the summary; `names` are those of the numbers, by their ids."""
    first, last = (_messages(summary), _uncertain(summary)), (_killed(summary, names), _promises(summary))
    for table in (*first, _waits(summary), _numbers(summary, names), *last):
        console.print(table)
        console.print()
    console.print(f"[dim]{NOT_JUDGED}\n{PROOF} {TRICKLE}\n{SHORTENED}[/]", highlight=False)
    for trouble in summary.troubles[:_QUOTED]:
        console.print(trouble, style="red", highlight=False, markup=False)
    kept, all_of = sum(promise.is_held for promise in summary.promises), len(summary.promises)
    word = "[bold green]all promises held[/]" if summary.is_ok else f"[bold red]{all_of - kept} promises broken[/]"
    console.print(f"\n{word} in {summary.seconds:.1f} s", highlight=False)


def _messages(summary: Summary) -> Table:
    found, webhooks = summary.totals, summary.webhooks
    table = _table("Messages", "", "count", "")
    table.add_row("queued", f"{found.sent:,}", f"{found.codes} one-time passwords, {found.late} of the trickle")
    table.add_row("accepted", f"{found.accepted:,}", "")
    for status, count in found.receipts.items():
        table.add_row(f"  {status}", f"{count:,}", _of_webhooks(webhooks) if status == "sent" else "")
    for state, count in found.other.items():
        table.add_row(state, f"{count}", "")
    table.add_row("uncertain", _bad(found.uncertain), f"of {summary.resolution.messages} that were")
    table.add_row("lost", _bad(found.lost), "")
    table.add_row("accepted twice", _bad(found.duplicates), "")
    table.add_row("refused by rate limit", _bad(found.refused), "by the simulator's own one-second window")
    faults = f"made up by the simulator, as are {found.unanswered} POSTs without an answer"
    table.add_row("throttled", f"{found.throttled}", faults)
    return table


def _of_webhooks(webhooks: Webhooks) -> str:
    slowest = "" if webhooks.slowest_ms is None else f", slowest answer {webhooks.slowest_ms:.0f} ms"
    return f"in {webhooks.made:,} signed webhooks, {webhooks.duplicated:,} sent twice{slowest}"


def _uncertain(summary: Summary) -> Table:
    found = summary.resolution
    table = _table(f"{found.sends} uncertain sends, and how they were resolved", "", "count", "p50", "most", "")
    for way, ways in found.by_way.items():
        if not ways.count and way not in _EXPECTED_WAYS:
            continue
        is_bad = way in {Way.UNPROVEN, Way.OPEN}
        count = _bad(ways.count) if is_bad else f"{ways.count}"
        decided = (_seconds(ways.p50_s), _seconds(ways.most_s)) if ways.count else ("", "")
        again = f"{ways.accepted} accepted then, after {_seconds(ways.settled_most_s)} at most" if ways.count else ""
        table.add_row(_WAY_WORDS[Way(way)], count, *decided, again if way == Way.ABSENCE else ", ".join(ways.missing))
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.by_reason.items())
    table.caption = f"Times are from uncertain to resolved. Reasons: {reasons or '-'}."
    early = f"Of {found.early} more messages a receipt came before any answer, so they never were uncertain."
    if found.early:
        table.caption += f" {early}"
    return table


def _waits(summary: Summary) -> Table:
    table = _table("From enqueue to POST", "lane", "messages", "p50", "p99", "most")
    for name, waits in summary.waits.items():
        times = [_seconds(waits.p50_s), _seconds(waits.p99_s), _seconds(waits.most_s)]
        table.add_row(_LANE_WORDS.get(name, name), f"{waits.count:,}", *times)
    return table


def _numbers(summary: Summary, names: Mapping[str, str]) -> Table:
    table = _table("Numbers", "number", "accepted", "rate used", "gate open", "throttled", "paused", "max in 1 s")
    for number in summary.numbers:
        table.add_row(
            names.get(number.number, number.number),
            f"{number.accepted:,}",
            _percent(number.used),
            _percent(number.used_open),
            f"{number.throttled}",
            _seconds(number.paused_s),
            f"{number.largest_window} of {number.rate:g}",
        )
    return table


def _killed(summary: Summary, names: Mapping[str, str]) -> Table:
    found = summary.killed
    table = _table(f"In flight when {summary.killed_worker} was killed", "", "count", "")
    table.add_row("in flight", f"{found.in_flight}", "")
    table.add_row("accepted, says a receipt", f"{found.told}", "before their leases ended")
    table.add_row("uncertain", f"{found.uncertain}", f"since their leases ended; {found.sent_again} were sent again")
    table.add_row("accepted by now", f"{found.accepted}", "")
    table.add_row("lost", _bad(found.lost), "")
    for number, waited_s in summary.served_again_s.items():
        wait = "[red]never[/]" if waited_s is None else _seconds(waited_s)
        table.add_row(f"{names.get(number, number)} served again", wait, "after the kill, by another worker")
    return table


def _promises(summary: Summary) -> Table:
    table = _table("Promises", "", "promise", "")
    for promise in summary.promises:
        mark = "[green]✓[/]" if promise.is_held else "[bold red]✗[/]"
        words = "\n".join((promise.words, *(f"[red]{what}[/]" for what in promise.broken)))
        table.add_row(mark, promise.name, words)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        is_count = place > 0 and column not in {"", "promise"}
        table.add_column(column, justify="right" if is_count else "left", no_wrap=is_count or place == 0)
    return table


def _bad(count: int) -> str:
    return f"[bold red]{count}[/]" if count else "0"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _rounded(values: Mapping[str, object]) -> dict[str, object]:
    return {name: _short(value) if isinstance(value, float) else value for name, value in values.items()}


def _short(value: float) -> float:
    return round(value, 4)
