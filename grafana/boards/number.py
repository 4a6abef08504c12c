"""One number, or several side by side: what waits for it, how fast it may send, and what holds it."""

from grafana.boards import uids
from grafana.panels import Board, Query, Row, Step, Variable, graph, stat, states, table
from grafana.promql import NUMBER, most, of, seen

_GATE_NOT_OPEN = of("dispatcher_number_gate", NUMBER, 'state!="open"')

_NOW = Row(
    "Now",
    (
        (
            stat("Waiting now", "Messages in its lanes.", "short", seen("dispatcher_queue_waiting", NUMBER)),
            stat(
                "Oldest urgent",
                "How long its oldest urgent message that may go out has waited.",
                "s",
                most("dispatcher_queue_oldest_runnable_seconds", NUMBER, lane="urgent"),
                steps=(Step(0, "green"), Step(2, "orange"), Step(15, "red")),
            ),
            stat(
                "Wait of a new bulk message",
                "How long what is in its lanes takes at its rate.",
                "s",
                most("dispatcher_queue_estimated_wait_seconds", NUMBER, lane="bulk"),
            ),
            stat(
                "Rate now",
                "Messages a second that it may send now.",
                "reqps",
                seen("dispatcher_number_rate_per_second", NUMBER, kind="effective"),
            ),
        ),
    ),
)

_GATE = Row(
    "Gate",
    (
        (
            states(
                "Gate",
                "Open, blocked (and why), half open while one message tries, or stopped by a person.",
                "short",
                Query(
                    f"max by (number, state, why) ({of('dispatcher_number_gate', NUMBER)})",
                    "{{number}} {{state}} {{why}}",
                ),
            ),
            table(
                "Which number",
                "Its id, its name and its WhatsApp Business Account.",
                f"max by (cell, number, name, waba) ({of('dispatcher_number_info', NUMBER)})",
                columns=(("name", "name"), ("number", "number"), ("waba", "account"), ("cell", "cell")),
            ),
        ),
        (
            graph(
                "Share of time not open",
                "How much of the last 10 minutes its gate was not open, by why. Sending is slow while this is high.",
                "percentunit",
                Query(
                    "sum by (number, why) (max without (instance, pod) "
                    f"(sum_over_time({_GATE_NOT_OPEN}[10m]))) / on () group_left () "
                    f"max(count_over_time({of('dispatcher_exporter_up')}[10m]))",
                    "{{number}} {{why}}",
                ),
            ),
            graph(
                "Rate",
                "Messages a second: what the numbers file says, and what it may send now.",
                "reqps",
                Query(most("dispatcher_number_rate_per_second", NUMBER, by="number, kind"), "{{number}} {{kind}}"),
            ),
        ),
    ),
)

_LANES = Row(
    "Lanes",
    (
        (
            graph(
                "Waiting",
                "Messages in each of its lanes.",
                "short",
                Query(seen("dispatcher_queue_waiting", NUMBER, by="number, lane"), "{{number}} {{lane}}"),
                is_stacked=True,
            ),
            graph(
                "Age of the oldest",
                "How long the oldest message that may go out has waited, by lane.",
                "s",
                Query(
                    most("dispatcher_queue_oldest_runnable_seconds", NUMBER, by="number, lane"), "{{number}} {{lane}}"
                ),
            ),
            graph(
                "Wait of a new message",
                "How long what waits before it takes at its rate, by lane.",
                "s",
                Query(
                    most("dispatcher_queue_estimated_wait_seconds", NUMBER, by="number, lane"), "{{number}} {{lane}}"
                ),
            ),
        ),
    ),
)

BOARD = Board(
    uids.NUMBER,
    "dispatcher: one number",
    "What waits for a number, how fast it may send, and what holds it. `dispatcher numbers show` says the same.",
    (_NOW, _GATE, _LANES),
    (
        Variable(
            "number",
            "Number",
            'query_result(dispatcher_number_info{cell=~"$cell"})',
            # names to choose from, ids in the queries
            r'/\bname="(?<text>[^"]*)".*\bnumber="(?<value>[^"]+)"/',
        ),
    ),
)
