"""Is it working, and if not, where to look."""

from grafana.boards import uids
from grafana.panels import BAD_ABOVE_0, BAD_BELOW_1, Board, Query, Row, Step, graph, stat, table
from grafana.promql import CELL, most, of, per_s, quantile, seen, seen_over_range, seen_per_s

_NOT_OPEN = 'state!="open"'
_FIRING = f'ALERTS{{{CELL},alertname=~"Dispatcher.*",alertstate="firing"}}'
_NAMED = f"on (cell, number) group_left (name) (max by (cell, number, name) ({of('dispatcher_number_info')}))"


def _burn(indicator: str, budget: float) -> str:
    return f"max({of(f'cell:dispatcher_{indicator}:ratio_rate1h')}) / {budget}"


_NOW = Row(
    "Now",
    (
        (
            stat(
                "Alerts",
                "How many of our alerts fire now. The table below names them; docs/runbooks.md says what to do.",
                "short",
                f"count({_FIRING}) or vector(0)",
                steps=BAD_ABOVE_0,
            ),
            stat("Waiting", "Messages in all lanes.", "short", seen("dispatcher_cell_waiting"), down=uids.NUMBER),
            stat(
                "Oldest urgent",
                "How long the oldest one-time password that may go out has waited.",
                "s",
                most("dispatcher_cell_oldest_runnable_seconds", lane="urgent"),
                steps=(Step(0, "green"), Step(2, "orange"), Step(15, "red")),
                down=uids.NUMBER,
            ),
            stat(
                "POSTs", "POSTs that ended, a second.", "reqps", per_s("dispatcher_attempts_total"), down=uids.WORKERS
            ),
            stat(
                "Uncertain",
                "Messages whose answer was lost and that wait for evidence.",
                "short",
                seen("dispatcher_messages", state="uncertain"),
                down=uids.RECEIPTS,
            ),
            stat(
                "Dead",
                "Messages that need a person. They stay for 30 days.",
                "short",
                seen("dispatcher_messages", state="dead"),
                down=uids.RECEIPTS,
            ),
            stat(
                "Accepted twice",
                "Messages that Meta accepted a second time, in the time shown.",
                "short",
                seen_over_range("dispatcher_duplicate_acceptances_total"),
                steps=BAD_ABOVE_0,
                down=uids.RECEIPTS,
            ),
            stat(
                "Workers",
                "Worker processes that said a sign of life.",
                "short",
                seen("dispatcher_processes", kind="worker"),
                steps=BAD_BELOW_1,
                down=uids.WORKERS,
            ),
        ),
    ),
)

_OBJECTIVES = Row(
    "Objectives",
    (
        (
            graph(
                "Burn rates",
                "How fast each objective uses up what it may miss: at 1 the budget of 30 days lasts 30 days. Above "
                "14.4 it is gone in 2 days, and somebody is called. Meta's failures are counted by themselves.",
                "none",
                Query(_burn("urgent_late", 0.01), "urgent posted within 1 s (99 %)"),
                Query(_burn("undelivered", 0.001), "messages that we lose hold of (99.9 %)"),
                Query(_burn("endpoint_failures", 0.005), "Meta answers (99.5 %)"),
            ),
            graph(
                "Wait of urgent messages",
                "From enqueue, or from when it was due, to the first POST. Half of them wait less than p50.",
                "s",
                Query(quantile(0.5, "dispatcher_enqueue_to_post_seconds", lane="urgent"), "p50"),
                Query(quantile(0.99, "dispatcher_enqueue_to_post_seconds", lane="urgent"), "p99"),
            ),
        ),
    ),
)

_FLOW = Row(
    "Flow",
    (
        (
            graph(
                "Waiting by lane",
                "Messages in the lanes of all numbers.",
                "short",
                Query(seen("dispatcher_cell_waiting", by="lane"), "{{lane}}"),
                down=uids.NUMBER,
                is_stacked=True,
            ),
            graph(
                "POSTs by outcome",
                "What POSTs ended in, a second. Snoozes are to the right.",
                "reqps",
                Query(per_s("dispatcher_attempts_total", by="outcome"), "{{outcome}}"),
                down=uids.WORKERS,
                is_stacked=True,
            ),
            graph(
                "Put back at no cost",
                "Claims that were put back, by what Meta or the wire said; they cost no attempt.",
                "cps",
                Query(per_s("dispatcher_snoozes_total", by="code"), "{{code}}"),
                down=uids.NUMBER,
            ),
        ),
        (
            graph(
                "Wait by lane",
                "From enqueue, or from when it was due, to the first POST: 99 of 100 wait less.",
                "s",
                Query(quantile(0.99, "dispatcher_enqueue_to_post_seconds", by="lane"), "{{lane}} p99"),
            ),
            graph(
                "Enqueued",
                "Messages that producers put into lanes, a second.",
                "cps",
                Query(seen_per_s("dispatcher_enqueued_total", by="lane"), "{{lane}}"),
                is_stacked=True,
            ),
            graph(
                "Settled",
                "Messages that became settled, a second, by state, and of dead ones the cause.",
                "cps",
                Query(seen_per_s("dispatcher_settled_total", by="state, cause"), "{{state}} {{cause}}"),
                down=uids.RECEIPTS,
            ),
            graph(
                "Where messages are",
                "Waiting, sending, uncertain, parked under a stop, dead.",
                "short",
                Query(seen("dispatcher_messages", by="state"), "{{state}}"),
            ),
        ),
    ),
)

_NUMBERS = Row(
    "Numbers",
    (
        (
            table(
                "Numbers",
                "What waits for each number, how long that takes at its rate, and its rate now. Of more than 500 "
                "numbers the worst 50.",
                f"{seen('dispatcher_queue_waiting', by='cell, number')} * {_NAMED}",
                most("dispatcher_queue_estimated_wait_seconds", by="cell, number"),
                most("dispatcher_number_rate_per_second", kind="effective", by="cell, number"),
                columns=(
                    ("name", "name"),
                    ("number", "number"),
                    ("cell", "cell"),
                    ("Value #A", "waiting"),
                    ("Value #B", "wait (s)"),
                    ("Value #C", "rate (1/s)"),
                ),
                opens=(uids.NUMBER, "number", "number"),
            ),
            table(
                "Gates that are not open",
                "Numbers that are blocked, half open or stopped, and why.",
                f"max by (cell, number, state, why) ({of('dispatcher_number_gate', _NOT_OPEN)}) == 1",
                columns=(("number", "number"), ("cell", "cell"), ("state", "state"), ("why", "why")),
                opens=(uids.NUMBER, "number", "number"),
            ),
            table(
                "Firing alerts",
                "Our alerts that fire now. docs/runbooks.md has a section for each.",
                _FIRING,
                columns=(("alertname", "alert"), ("severity", "severity"), ("number", "number")),
            ),
        ),
        (
            graph(
                "Numbers by gate",
                "How all numbers of the cell stand: open, blocked, half open or stopped.",
                "short",
                Query(seen("dispatcher_numbers"), "all"),
                Query(seen("dispatcher_cell_gates", by="state"), "{{state}}"),
            ),
            graph(
                "Times a gate closed",
                "How often numbers were blocked, by why.",
                "cps",
                Query(seen_per_s("dispatcher_gate_closings_total", by="why"), "{{why}}"),
                down=uids.NUMBER,
            ),
            graph(
                "Stops in force",
                "Stops by what they hold, and whether they hold or cancel.",
                "short",
                Query(seen("dispatcher_stops", by="scope_kind, action"), "{{scope_kind}} {{action}}"),
                down=uids.CAMPAIGNS,
            ),
        ),
    ),
)

BOARD = Board(
    uids.OVERVIEW,
    "dispatcher: overview",
    "Is it working, and if not, where to look. Each panel leads to the dashboard that tells more.",
    (_NOW, _OBJECTIVES, _FLOW, _NUMBERS),
)
