"""All dashboards, in the order in which one looks at them."""

from typing import Final

from grafana.boards import campaigns, number, overview, receipts, workers

BOARDS: Final = (overview.BOARD, number.BOARD, campaigns.BOARD, receipts.BOARD, workers.BOARD)
