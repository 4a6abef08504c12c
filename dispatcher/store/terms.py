"""How long what is kept, and how often what is tried, as the scripts read it: one line of JSON."""

import json
from dataclasses import dataclass

from dispatcher.message.priority import DEAD_KEPT_S, LANE_DEFAULTS, Priority


@dataclass(frozen=True, slots=True)
class Terms:
    """Set once for a cell; windows are seconds from an uncertain outcome to the decision about it.

    A producer does not know how long the cell keeps its events: with None it drops none.
    """

    events_kept_s: float | None = None
    window_s: float = 60
    window_urgent_s: float = 10

    def as_json(self) -> str:
        """One object with times in ms and a list entry for each lane, urgent first."""
        lanes = [LANE_DEFAULTS[priority] for priority in Priority]
        terms: dict[str, object] = {
            "kept": [round(lane.record_kept_s * 1000) for lane in lanes],
            "body": [round(lane.body_kept_s * 1000) for lane in lanes],
            "dead": round(DEAD_KEPT_S * 1000),
            "window": [round(s * 1000) for s in (self.window_urgent_s, self.window_s, self.window_s)],
            "tries": list(TRIES),
        }
        if self.events_kept_s is not None:
            terms["events"] = round(self.events_kept_s * 1000)
        return json.dumps(terms)


# The first attempt and eight retries; an urgent message is tried until its time runs out.
TRIES = (0, 9, 9)
