"""The processes, the wire to Meta, and Redis."""

from grafana.boards import uids
from grafana.panels import BAD_BELOW_1, Board, Query, Row, Step, graph, stat, table
from grafana.promql import CELL, OURS, RATE, most, of, per_s, quantile, seen, total

_USED = f"max by (cell) ({of('dispatcher_redis_memory_bytes', kind='used')})"
_MAX = f"max by (cell) ({of('dispatcher_redis_memory_bytes', kind='max')})"
_FILLED = (Step(0, "green"), Step(0.75, "orange"), Step(0.85, "red"))

_NOW = Row(
    "Now",
    (
        (
            stat(
                "Workers",
                "Worker processes that said a sign of life.",
                "short",
                seen("dispatcher_processes", kind="worker"),
                steps=BAD_BELOW_1,
            ),
            stat(
                "Doors",
                "Processes of `dispatcher api` that said a sign of life.",
                "short",
                seen("dispatcher_processes", kind="door"),
            ),
            stat(
                "Exporter",
                "1 while the exporter reaches Redis.",
                "short",
                f"min({of('dispatcher_exporter_up')})",
                steps=BAD_BELOW_1,
            ),
            stat(
                "Redis filled",
                "Above 75 % bulk is refused, above 85 % normal too. Nothing without maxmemory.",
                "percentunit",
                f"max({_USED} / ({_MAX} > 0)) or vector(0)",
                steps=_FILLED,
            ),
            stat(
                "No eviction",
                "1 if Redis keeps what it is given (maxmemory-policy noeviction).",
                "short",
                f"min({of('dispatcher_redis_noeviction')})",
                steps=BAD_BELOW_1,
            ),
            stat(
                "Append-only",
                "1 if Redis writes what it is given to its append-only file.",
                "short",
                f"min({of('dispatcher_redis_aof_enabled')})",
                steps=BAD_BELOW_1,
            ),
            stat(
                "Persistence",
                "1 if the last write and the last snapshot went well.",
                "short",
                f"min({of('dispatcher_redis_persistence_ok')})",
                steps=BAD_BELOW_1,
            ),
            stat(
                "Processes answering",
                "Share of our processes that Prometheus reaches.",
                "percentunit",
                f"avg(up{{{CELL},{OURS}}})",
                steps=BAD_BELOW_1,
            ),
        ),
    ),
)

_META = Row(
    "The wire to Meta",
    (
        (
            graph(
                "Answers by class",
                "POSTs by what came back: lost is no answer, unsent never left.",
                "reqps",
                Query(per_s("dispatcher_endpoint_requests_total", by="class"), "{{class}}"),
                is_stacked=True,
            ),
            graph(
                "Time of a POST",
                "From a POST to its outcome: 99 of 100 take less.",
                "s",
                Query(quantile(0.5, "dispatcher_post_seconds"), "p50"),
                Query(quantile(0.99, "dispatcher_post_seconds", by="outcome"), "{{outcome}} p99"),
            ),
            graph(
                "In flight",
                "POSTs under way, and how many there may be.",
                "short",
                Query(total("dispatcher_in_flight"), "in flight"),
                Query(total("dispatcher_in_flight_cap"), "cap"),
            ),
        ),
    ),
)

_PROCESSES = Row(
    "Processes",
    (
        (
            table(
                "Builds",
                "Which version each process runs.",
                of("dispatcher_build_info"),
                columns=(("job", "job"), ("instance", "instance"), ("version", "version"), ("python", "Python")),
            ),
            graph(
                "Numbers served",
                "Numbers that each worker serves now.",
                "short",
                Query(most("dispatcher_number_leases", by="instance"), "{{instance}}"),
            ),
            graph(
                "Loop lag",
                "How late timers of the event loop run. An overloaded process gives numbers back.",
                "s",
                Query(most("dispatcher_event_loop_lag_seconds", by="instance"), "{{instance}}"),
            ),
        ),
        (
            graph(
                "Claims", "Claims a second, empty ones too.", "cps", Query(per_s("dispatcher_claims_total"), "claims")
            ),
            graph(
                "Messages a claim",
                "How many messages a claim takes on average.",
                "short",
                Query(f"{per_s('dispatcher_claimed_messages_total')} / {per_s('dispatcher_claims_total')}", "messages"),
            ),
            graph(
                "Jobs of arq producers",
                "Messages that came by the send queue, and jobs that were refused.",
                "cps",
                Query(per_s("dispatcher_messages_accepted_by_intake_total"), "queued"),
                Query(per_s("dispatcher_intake_refused_total", by="reason"), "refused: {{reason}}"),
            ),
        ),
        (
            graph(
                "CPU",
                "Seconds of CPU a second, by process.",
                "percentunit",
                Query(f"rate({of('process_cpu_seconds_total', OURS)}{RATE})", "{{job}} {{instance}}"),
            ),
            graph(
                "Memory",
                "Resident memory by process.",
                "bytes",
                Query(of("process_resident_memory_bytes", OURS), "{{job}} {{instance}}"),
            ),
            graph(
                "Open files",
                "Share of the file descriptors that a process may open.",
                "percentunit",
                Query(f"{of('process_open_fds', OURS)} / {of('process_max_fds', OURS)}", "{{job}} {{instance}}"),
            ),
        ),
    ),
)

_REDIS = Row(
    "Redis",
    (
        (
            graph(
                "Memory of Redis",
                "What it uses, and what it may use (0: no limit).",
                "bytes",
                Query(most("dispatcher_redis_memory_bytes", by="kind"), "{{kind}}"),
            ),
            graph(
                "Round trip",
                "From a command or script to its answer: half and 99 of 100 take less.",
                "s",
                Query(quantile(0.5, "dispatcher_redis_round_trip_seconds"), "p50"),
                Query(quantile(0.99, "dispatcher_redis_round_trip_seconds", by="job"), "{{job}} p99"),
            ),
            graph(
                "Scripts",
                "From a script to its answer: 99 of 100 take less.",
                "s",
                Query(quantile(0.99, "dispatcher_redis_script_seconds", by="script"), "{{script}}"),
            ),
        ),
        (
            graph(
                "Connections made anew",
                "How often workers lost Redis, a second.",
                "cps",
                Query(per_s("dispatcher_redis_reconnects_total", by="instance"), "{{instance}}"),
            ),
            graph(
                "Time of a look",
                "How long the exporter takes to look at Redis.",
                "s",
                Query(most("dispatcher_exporter_scrape_seconds"), "exporter"),
            ),
        ),
    ),
)

BOARD = Board(
    uids.WORKERS,
    "dispatcher: workers and Redis",
    "The processes, the wire to Meta, and Redis.",
    (_NOW, _META, _PROCESSES, _REDIS),
)
