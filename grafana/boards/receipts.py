"""What became of messages after Meta took them, what is uncertain, and how the webhook door does."""

from grafana.boards import uids
from grafana.panels import BAD_ABOVE_0, Board, Query, Row, graph, stat
from grafana.promql import most, of, over_range, per_s, quantile, seen, seen_over_range, seen_per_s

_SENT = over_range("dispatcher_receipts_total", status="sent")


def _share(status: str) -> str:
    return f"{over_range('dispatcher_receipts_total', status=status)} / {_SENT}"


_QUALITY = Row(
    "Quality",
    (
        (
            stat(
                "Delivered",
                "Of the messages sent in the time shown: reached the device.",
                "percentunit",
                _share("delivered"),
            ),
            stat(
                "Read",
                "Of the messages sent in the time shown: read. People may hide this.",
                "percentunit",
                _share("read"),
            ),
            stat(
                "Failed",
                "Receipts of failure, of the messages sent in the time shown.",
                "percentunit",
                f"({over_range('dispatcher_receipts_total', status='failed')} or vector(0)) / {_SENT}",
            ),
            stat(
                "Billed",
                "Receipts of messages that Meta charges for, in the time shown.",
                "short",
                f"{over_range('dispatcher_receipts_total', billable='yes')} or vector(0)",
            ),
            stat(
                "Sent again",
                "Uncertain messages that went out again, in the time shown.",
                "short",
                seen_over_range("dispatcher_resends_total"),
            ),
            stat(
                "Accepted twice",
                "Messages that Meta accepted a second time, in the time shown.",
                "short",
                seen_over_range("dispatcher_duplicate_acceptances_total"),
                steps=BAD_ABOVE_0,
            ),
        ),
        (
            graph(
                "Receipts by status",
                "Receipts that said something new, a second.",
                "cps",
                Query(per_s("dispatcher_receipts_total", by="status"), "{{status}}"),
            ),
            graph(
                "Receipts by category",
                "The same by category, and whether Meta charges for it.",
                "cps",
                Query(per_s("dispatcher_receipts_total", by="category, billable"), "{{category}} billed {{billable}}"),
            ),
            graph(
                "Acceptance to delivery",
                "From Meta's answer to the receipt that it is on the device.",
                "s",
                Query(quantile(0.5, "dispatcher_accepted_to_delivered_seconds", by="lane"), "{{lane}} p50"),
                Query(quantile(0.99, "dispatcher_accepted_to_delivered_seconds", by="lane"), "{{lane}} p99"),
            ),
        ),
    ),
)

_TROUBLE = Row(
    "Refused and uncertain",
    (
        (
            graph(
                "Refused by code",
                "Messages that Meta refused, by Graph error code. Each needs a person.",
                "cps",
                Query(per_s("dispatcher_attempts_total", outcome="reject", by="code"), "{{code}}"),
            ),
            graph(
                "Uncertain sends",
                "Sends whose answer was lost (answer), or whose worker was (lease).",
                "cps",
                Query(seen_per_s("dispatcher_uncertain_total", by="cause"), "{{cause}}"),
            ),
            graph(
                "Sent again by proof",
                "By proof: absence where it was proved that Meta had not taken it, none where the "
                "message's policy sends again without.",
                "cps",
                Query(seen_per_s("dispatcher_resends_total", by="proof"), "{{proof}}"),
            ),
        ),
        (
            graph(
                "Uncertain now",
                "Messages that wait for evidence.",
                "short",
                Query(seen("dispatcher_messages", state="uncertain"), "uncertain"),
            ),
            graph(
                "Dead by cause",
                "Messages that died, a second: rejected and failed by Meta; exhausted, held, lapsed and lost by us.",
                "cps",
                Query(seen_per_s("dispatcher_settled_total", state="dead", by="cause"), "{{cause}}"),
            ),
        ),
    ),
)

_DOOR = Row(
    "Webhook door",
    (
        (
            graph(
                "Webhooks by answer",
                "Only stored is good; unsigned means a wrong app secret, or a stranger.",
                "reqps",
                Query(per_s("dispatcher_webhook_requests_total", by="outcome"), "{{outcome}}"),
            ),
            graph(
                "Time to answer",
                "From a webhook request to its answer.",
                "s",
                Query(quantile(0.5, "dispatcher_webhook_answer_seconds"), "p50"),
                Query(quantile(0.99, "dispatcher_webhook_answer_seconds"), "p99"),
            ),
            graph(
                "Not worked off",
                "Webhooks that are stored and wait.",
                "short",
                Query(most("dispatcher_webhook_backlog"), "webhooks"),
                Query(most("dispatcher_unreadable_webhooks"), "unreadable, kept for a person"),
            ),
        ),
        (
            graph(
                "Age of the oldest",
                "How long the oldest webhook that is not worked off has waited.",
                "s",
                Query(most("dispatcher_webhook_lag_seconds"), "oldest"),
            ),
            graph(
                "Updates by kind",
                "What was in the webhooks, a second.",
                "cps",
                Query(per_s("dispatcher_webhook_updates_total", by="kind"), "{{kind}}"),
            ),
            graph(
                "Events not acknowledged",
                "Age of the oldest entry that a consumer group has not acknowledged. What is "
                "older than 24 hours is dropped.",
                "s",
                Query(most("dispatcher_events_lag_seconds", by="stream, group"), "{{stream}} {{group}}"),
            ),
        ),
        (
            graph(
                "Passed on",
                "Webhooks passed on to other programs, by host and what came of it.",
                "cps",
                Query(per_s("dispatcher_webhook_forwarded_total", by="host, outcome"), "{{host}} {{outcome}}"),
            ),
            graph(
                "Not yet passed on",
                "Webhooks that wait for other programs.",
                "short",
                Query(f"max by (host) ({of('dispatcher_webhook_forward_backlog')})", "{{host}}"),
            ),
        ),
    ),
)

BOARD = Board(
    uids.RECEIPTS,
    "dispatcher: receipts and quality",
    "What became of messages after Meta took them, what is uncertain, and how the webhook door does.",
    (_QUALITY, _TROUBLE, _DOOR),
)
