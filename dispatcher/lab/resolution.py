"""How the uncertain sends of a run were resolved, and how long that took. Pure."""

from dataclasses import asdict, dataclass

from dispatcher.lab.evidence import TAKEN, Doubt, Evidence, Way
from dispatcher.lab.figures import percentile


@dataclass(frozen=True, slots=True)
class WayFigures:
    """Sends that were resolved in one way, how many of them are accepted now, and seconds until it was decided.

    `settled_*` are seconds until it came to something: for what was sent again, until that was accepted. `missing` says
    which proofs there were none of, for what is held.
    """

    count: int
    accepted: int
    p50_s: float
    most_s: float
    settled_p50_s: float
    settled_most_s: float
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """One uncertain send, and what became of it; without `decided_s` nothing did."""

    key: str
    error: str
    way: str
    state: str
    why: str
    decided_s: float | None
    settled_s: float | None


@dataclass(frozen=True, slots=True)
class Resolution:
    """All uncertain sends, by way; `early` are messages of which a receipt came before any answer, and before doubt."""

    sends: int
    messages: int
    early: int
    by_reason: dict[str, int]
    by_way: dict[str, WayFigures]
    each: tuple[Resolved, ...]


def resolution(evidence: Evidence) -> Resolution:
    """Work out how it went. Every way is there, also those that nothing was resolved in."""
    doubts = evidence.doubts
    reasons = [doubt.error for doubt in doubts]
    keys = {doubt.key for doubt in doubts}
    return Resolution(
        sends=len(doubts),
        messages=len(keys),
        early=len(evidence.heard - keys),
        by_reason={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        by_way={way.value: _way(evidence, [doubt for doubt in doubts if doubt.way is way]) for way in Way},
        each=tuple(_resolved(evidence, doubt) for doubt in doubts),
    )


def as_dict(found: Resolution) -> dict[str, object]:
    """Return it as plain values for JSON, times in ms precision."""
    plain: dict[str, object] = asdict(found)
    plain["by_way"] = {way: _rounded(asdict(figures)) for way, figures in found.by_way.items()}
    plain["each"] = [_rounded(asdict(one)) for one in found.each]
    return plain


def _way(evidence: Evidence, doubts: list[Doubt]) -> WayFigures:
    decided = [doubt.decided_at_s - doubt.at_s for doubt in doubts if doubt.decided_at_s is not None]
    settled = [doubt.ended_at_s - doubt.at_s for doubt in doubts if doubt.ended_at_s is not None]
    return WayFigures(
        count=len(doubts),
        accepted=sum(_state(evidence, doubt) in TAKEN for doubt in doubts),
        p50_s=percentile(decided, 50),
        most_s=max(decided, default=0.0),
        settled_p50_s=percentile(settled, 50),
        settled_most_s=max(settled, default=0.0),
        missing=tuple(sorted({doubt.why for doubt in doubts if doubt.why})),
    )


def _resolved(evidence: Evidence, doubt: Doubt) -> Resolved:
    return Resolved(
        key=doubt.key,
        error=doubt.error,
        way=doubt.way.value,
        state=_state(evidence, doubt),
        why=doubt.why,
        decided_s=None if doubt.decided_at_s is None else doubt.decided_at_s - doubt.at_s,
        settled_s=None if doubt.ended_at_s is None else doubt.ended_at_s - doubt.at_s,
    )


def _state(evidence: Evidence, doubt: Doubt) -> str:
    fate = evidence.fates.get(doubt.key)
    return fate.state if fate else "unknown"


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
