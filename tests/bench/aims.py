"""The aims, and which of them a run missed."""

from typing import Any

Row = dict[str, Any]

STALL_MS = 100
USED_LEAST = 0.95
IDLE_P99_MS = 30.0
URGENT_P99_MS = 100.0
ISOLATED_MS = 20.0
TIMES_ARQ = 8.0
SHARE_OF_ENGINE = {"slow": 0.7, "instant": 0.5}
CPU_OF_ENGINE = 1.7
TIMES_BULLMQ = 1.0
# An endpoint that took so much more from another than from us was not what held us back.
SINK_TIMES = 1.2
SINK_CORES = 0.8
WAITING_BYTES = 1200
FINISHED_BYTES = 250
# "The same": what lies between is the noise of medians on a shared machine.
CLAIM_TIMES = 1.25
IDLE_SHARE = 0.05
LAG_MS = 25.0

ANSWERS = {"slow": "answers after 150 ms", "instant": "instant answers"}


def missed(figures: Row) -> list[str]:
    """Name each aim that was missed, with the figure."""
    return [
        *_missed_pacing(figures.get("pacing", ())),
        *_missed_latency(figures.get("idle", ()), figures.get("urgent")),
        *_missed_isolation(figures.get("isolation", ())),
        *_missed_throughput(figures.get("throughput", {})),
        *_missed_scale(figures.get("scale", {})),
        *_missed_reload(figures.get("reload", ())),
        *_missed_edges(figures.get("edges", ())),
    ]


def _missed_pacing(rows: list[Row]) -> list[str]:
    found = []
    for row in rows:
        where = f"pacing at {row['rate_per_s']}/s with {row['processes']} processes"
        arrived, left = row["largest_window"], row["largest_window_leaving"]
        if left > row["rate_per_s"] or (arrived > row["rate_per_s"] and not _stood_still(row)):
            found.append(f"{where}: a window of {arrived} arrived, of {left} when they left the workers")
        if row["used"] < USED_LEAST:
            found.append(
                f"{where}: {row['used']:.1%} of the rate used, at least {USED_LEAST:.0%} wanted{_starved(row)}"
            )
    return found


def _stood_still(row: Row) -> bool:
    """Whether nothing arrived for so long that more than the workers stood still.

    The promise counts what leaves the workers, and bears 25 ms of uneven delay on the way; what left before a longer
    stall arrives together with what left after it.
    """
    return bool(row["gaps_ms"].get("max", 0) > STALL_MS)


def _starved(row: Row) -> str:
    waited = waited_for_core(row)
    return f"; the worker waited {waited} of the time for a core" if waited else ""


def waited_for_core(row: Row) -> str:
    """How long the busiest worker waited for a core."""
    workers = {name: used for name, used in row.get("cores", {}).items() if name.startswith("worker")}
    share = row.get("waited", {}).get(max(workers, key=lambda name: workers[name], default=""))
    return "" if share is None else f"{share:.0%}"


def _missed_latency(idle: list[Row], urgent: Row | None) -> list[str]:
    found = [
        f"idle number with {row['processes']} processes: p99 {row['p99_ms']} ms, at most {IDLE_P99_MS:g} wanted"
        for row in idle
        if row["p99_ms"] > IDLE_P99_MS
    ]
    if urgent and urgent["p99_ms"] > URGENT_P99_MS:
        found.append(f"urgent past a campaign: p99 {urgent['p99_ms']} ms, at most {URGENT_P99_MS:g} wanted")
    return found


def _missed_isolation(rows: list[Row]) -> list[str]:
    return [
        f"isolation, first number {row['state']}: p99 {row['p99_over_calm_ms']} ms above that without trouble, "
        f"at most {ISOLATED_MS:g} wanted"
        for row in rows
        if row["p99_over_calm_ms"] > ISOLATED_MS and row["state"] != "busy"
    ]


def _missed_throughput(found: Row) -> list[str]:
    return [
        line
        for course, answers in ANSWERS.items()
        if course in found
        for line in (*_missed_ratios(course, found[course]["ratios"]), *_missed_sink(answers, found[course]))
    ]


def _missed_ratios(course: str, ratios: Row) -> list[str]:
    """Each against its aim; the processor time and BullMQ only where answers are instant."""
    least = {"share_of_engine": SHARE_OF_ENGINE[course], "times_arq": TIMES_ARQ}
    if course == "instant":
        least["times_bullmq"] = TIMES_BULLMQ
    words = {
        "share_of_engine": "of the engine alone", "times_arq": "of stock arq", "times_bullmq": "of BullMQ",
    }  # fmt: skip
    found = [
        f"throughput, {ANSWERS[course]}: {ratios[name]['median']:.2f} {words[name]}, at least {aim:g} wanted"
        for name, aim in least.items()
        if name in ratios and ratios[name]["median"] < aim
    ]
    cpu = ratios.get("cpu_of_engine", {}).get("median", 0.0)
    if course == "instant" and cpu > CPU_OF_ENGINE:
        found.append(
            f"throughput, {ANSWERS[course]}: {cpu:.2f} times the processor time of the engine alone, "
            f"at most {CPU_OF_ENGINE:g} wanted"
        )
    return found


def _missed_sink(answers: str, compared: Row) -> list[str]:
    sink = compared["sink"]
    busiest = max(sink["cores"].values(), default=0.0)
    if sink["times_ours"] >= SINK_TIMES and busiest <= SINK_CORES:
        return []
    return [
        f"throughput, {answers}: the endpoint may be what limits; it took {sink['times_ours']:.2f} times as much from "
        f"{sink['most_by']} as from us, and used up to {busiest:.2f} of a core"
    ]


def _missed_scale(found: Row) -> list[str]:
    if not found:
        return []
    memory, idle = found["memory"], found["idle"]
    finished = memory["finished"]["record_bytes"] + memory["finished"]["sets_bytes"]
    lines = []
    if memory["waiting"]["used_bytes"] > WAITING_BYTES:
        lines.append(
            f"scale: {memory['waiting']['used_bytes']} bytes a waiting message, at most {WAITING_BYTES} wanted"
        )
    if finished > FINISHED_BYTES:
        lines.append(f"scale: {finished} bytes a finished message, at most {FINISHED_BYTES} wanted")
    if idle["worker_share"] > IDLE_SHARE:
        lines.append(
            f"scale: an idle process uses {idle['worker_share']:.1%} of a core, at most {IDLE_SHARE:.0%} wanted"
        )
    lines += [
        f"scale: a claim with {row['many']['waiting']} waiting on {row['many']['numbers']} numbers takes "
        f"{row['times']:.2f} times as long as with {row['few']['waiting']} on {row['few']['numbers']}, "
        f"at most {CLAIM_TIMES:g} wanted"
        for row in found["claims"]
        if row["times"] > CLAIM_TIMES
    ]
    return lines


def _missed_reload(rows: list[Row]) -> list[str]:
    return [
        f"reload of {row['numbers']} numbers, {row['change']}: the event loop stood still for {row['own_max_ms']} ms "
        f"of its own, at most {LAG_MS:g} wanted"
        for row in rows
        if row["own_max_ms"] > LAG_MS
    ]


def _missed_edges(rows: list[Row]) -> list[str]:
    return [
        f"{row['what']}: {row['figure']:g} {row['unit']}, {aim_of(row)} wanted"
        for row in rows
        if row["figure"] < row.get("least", 0) or row["figure"] > row.get("most", row["figure"])
    ]


def aim_of(row: Row) -> str:
    """What is wanted of a figure at the edges, in words."""
    return f"at least {row['least']:g}" if "least" in row else f"at most {row['most']:g}"
