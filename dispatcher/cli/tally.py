"""What became of the lines of a file: counts, the refused ones, and the report. Sends nothing itself."""

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from dispatcher import errors
from dispatcher.cli.output import note, table, write_json

SHOWN_MAX: Final = 20
"""How many refused lines the report shows; `--refused` writes all."""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not queued, and why."""

    line: int
    reason: str
    field: str
    key: str | None


@dataclass(slots=True)
class Tally:
    """Counts while a file is sent; refused lines go to `refused_to` as they are met, the first are kept."""

    refused_to: TextIO | None = None
    lines: int = 0
    queued: int = 0
    duplicates: int = 0
    refused: int = 0
    first_refused: list[RefusedLine] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    ended: str = "done"

    def begin(self) -> None:
        """Start the clock: what was before is not sending."""
        self.started = time.monotonic()

    def refuse(self, line: int, why: errors.Refused) -> None:
        """Count a refused line and note its reason."""
        found = RefusedLine(line, why.reason, why.field, why.key)
        self.refused += 1
        if len(self.first_refused) < SHOWN_MAX:
            self.first_refused.append(found)
        if self.refused_to:
            self.refused_to.write(json.dumps(dataclasses.asdict(found)) + "\n")

    def take(self, *, duplicate: bool) -> None:
        """Count a message that was queued, or recognised by its key."""
        if duplicate:
            self.duplicates += 1
        else:
            self.queued += 1

    def flush(self) -> None:
        """Have all refused lines written, or raise what keeps them from it."""
        if self.refused_to:
            self.refused_to.flush()

    def report(self, *, as_json: bool) -> None:
        """Write what became of the lines so far."""
        seconds = time.monotonic() - self.started
        per_second = (self.queued + self.duplicates) / max(seconds, 0.001)
        if as_json:
            write_json(self._as_object(seconds, per_second))
            return
        if self.first_refused:
            rows = [(found.line, found.field, found.reason, found.key) for found in self.first_refused]
            table("refused lines", ("line", "field", "reason", "key"), rows)
        if self.refused > SHOWN_MAX and not self.refused_to:
            note(f"{self.refused - SHOWN_MAX} more lines were refused: --refused FILE writes them all")
        known = f", {self.duplicates:,} known already" if self.duplicates else ""
        refused = f", {self.refused:,} refused" if self.refused else ""
        print(f"{self.queued:,} queued{known}{refused}, in {seconds:.1f} s ({per_second:,.0f} a second)")

    def _as_object(self, seconds: float, per_second: float) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("lines", "queued", "duplicates", "refused")}
        times = {"seconds": round(seconds, 3), "per_second": round(per_second, 1)}
        return {"ended": self.ended, **counts, **times, "refused_lines": self.first_refused}
