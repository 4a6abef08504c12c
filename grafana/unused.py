"""Metrics that no dashboard and no rule uses, and why they exist all the same."""

from typing import Final

UNUSED: Final[dict[str, str]] = {}
