"""Campaigns: how far each is, when it will be done, and what holds it."""

from grafana.boards import uids
from grafana.panels import Board, Query, Row, Variable, graph, stat, table
from grafana.promql import most, of, per_s, quantile, seen

_ONE = 'campaign=~"$campaign"'
_WAITING = seen("dispatcher_campaign_messages", _ONE, state="waiting", by="cell, campaign")
_SPEED = f"-min by (cell, campaign) (deriv({of('dispatcher_campaign_messages', _ONE, state='waiting')}[5m]))"

_NOW = Row(
    "Now",
    (
        (
            stat(
                "Bulk waiting",
                "Messages in the bulk lanes of all numbers.",
                "short",
                seen("dispatcher_cell_waiting", lane="bulk"),
                down=uids.NUMBER,
            ),
            stat(
                "Parked",
                "Messages that a stop on a campaign or a template holds.",
                "short",
                seen("dispatcher_messages", state="parked"),
            ),
            stat(
                "Longest wait ahead",
                "How long the longest bulk lane takes at its rate.",
                "s",
                most("dispatcher_queue_estimated_wait_seconds", lane="bulk"),
                down=uids.NUMBER,
            ),
            stat(
                "Campaigns stopped",
                "Stops on campaigns that are in force: `dispatcher stops list`.",
                "short",
                f"{seen('dispatcher_stops', scope_kind='campaign')} or vector(0)",
            ),
            stat(
                "Templates stopped",
                "Stops on templates that are in force.",
                "short",
                f"{seen('dispatcher_stops', scope_kind='template')} or vector(0)",
            ),
            stat(
                "Bulk claimed",
                "Bulk messages that workers took, a second.",
                "cps",
                per_s("dispatcher_claimed_messages_total", lane="bulk"),
            ),
        ),
    ),
)

_CAMPAIGNS = Row(
    "Campaigns",
    (
        (
            table(
                "Messages",
                "The 20 largest campaigns: how many of their messages are in which state.",
                most("dispatcher_campaign_messages", _ONE, by="cell, campaign, state"),
                columns=(("campaign", "campaign"), ("cell", "cell"), ("state", "state"), ("Value", "messages")),
            ),
            graph(
                "Progress",
                "Messages of each campaign, by state.",
                "short",
                Query(seen("dispatcher_campaign_messages", _ONE, by="campaign, state"), "{{campaign}} {{state}}"),
            ),
        ),
        (
            graph(
                "Done in",
                "When nothing of it will be waiting, at the speed of the last 5 minutes; nothing while it "
                "grows or stands still.",
                "s",
                Query(f"{_WAITING} / ({_SPEED} > 0)", "{{campaign}}"),
            ),
            graph(
                "Wait of bulk messages",
                "From enqueue, or from when it was due, to the first POST.",
                "s",
                Query(quantile(0.5, "dispatcher_enqueue_to_post_seconds", lane="bulk"), "p50"),
                Query(quantile(0.99, "dispatcher_enqueue_to_post_seconds", lane="bulk"), "p99"),
            ),
        ),
    ),
)

BOARD = Board(
    uids.CAMPAIGNS,
    "dispatcher: campaigns",
    "How far each campaign is, when it will be done, and what holds it. The 20 largest are shown.",
    (_NOW, _CAMPAIGNS),
    (Variable("campaign", "Campaign", 'label_values(dispatcher_campaign_messages{cell=~"$cell"}, campaign)'),),
)
