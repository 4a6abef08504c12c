"""The uids of our dashboards: parts of their addresses, in bookmarks and links. They never change."""

from typing import Final

OVERVIEW: Final = "dispatcher-overview"
NUMBER: Final = "dispatcher-number"
CAMPAIGNS: Final = "dispatcher-campaigns"
RECEIPTS: Final = "dispatcher-receipts"
WORKERS: Final = "dispatcher-workers"
