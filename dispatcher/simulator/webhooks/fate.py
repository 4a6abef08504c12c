"""What becomes of an accepted message: which statuses, when, and which are lost; draws by seed, knows no clock."""

import random
from itertools import pairwise
from typing import NamedTuple

from dispatcher.simulator.webhooks.settings import WebhookSettings

SENT = "sent"
DELIVERED = "delivered"
READ = "read"
FAILED = "failed"


class Step(NamedTuple):
    """One status: how long after the acceptance its webhook is due, and when its timestamp says it happened."""

    kind: str
    due_s: float
    happened_s: float
    is_priced: bool


class Fate:
    """Draws fates. The same seed draws the same for the same messages in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a test that can be repeated, no secret

    def hits(self, share: float) -> bool:
        """Whether this one is among the share."""
        return share > 0 and self._random.random() < share

    def steps(self, settings: WebhookSettings, *, is_reaction: bool) -> list[Step]:
        """All statuses of a message, in the order in which their webhooks are due."""
        kinds = self._kinds(settings, is_reaction=is_reaction)
        at_s, dues_s = 0.0, []
        for kind in kinds:
            at_s = max(at_s, self._delay_s(settings, kind))
            dues_s.append(at_s)
        priced = {SENT, self._random.choice(kinds[1:])} if kinds[1:] else {SENT}
        places = list(range(len(kinds)))
        if settings.is_shuffled:
            self._random.shuffle(places)
        stamps_s = _stamps_s(dues_s, places)
        return [
            Step(kinds[place], due_s, stamps_s[place], kinds[place] in priced and kinds[place] != FAILED)
            for place, due_s in zip(places, dues_s, strict=True)
        ]

    def failure(self, settings: WebhookSettings) -> Step:
        """The one status of a message that was held and then dropped."""
        delay_s = self._delay_s(settings, FAILED)
        return Step(FAILED, delay_s, delay_s, is_priced=False)

    def _kinds(self, settings: WebhookSettings, *, is_reaction: bool) -> list[str]:
        if self.hits(settings.failed):
            return [SENT, FAILED] if settings.is_sent_before_failed else [FAILED]
        if is_reaction:
            return [SENT]
        return [SENT, DELIVERED, READ] if self.hits(settings.read) else [SENT, DELIVERED]

    def _delay_s(self, settings: WebhookSettings, kind: str) -> float:
        base_ms: float = getattr(settings, f"{kind}_ms")
        jitter_ms = self._random.random() * settings.jitter_ms if settings.jitter_ms else 0.0
        return (base_ms + jitter_ms) / 1000


def lost_share(settings: WebhookSettings, kind: str) -> float:
    """The share of this status that is never sent."""
    share: float = getattr(settings, f"lost_{kind}")
    return share


def _stamps_s(happened_s: list[float], places: list[int]) -> list[float]:
    """When each status happened: never after its webhook, never after the status that follows it."""
    stamps_s = list(happened_s)
    for due_s, place in zip(happened_s, places, strict=True):
        stamps_s[place] = min(stamps_s[place], due_s)
    for later, earlier in pairwise(reversed(range(len(stamps_s)))):
        stamps_s[earlier] = min(stamps_s[earlier], stamps_s[later])
    return stamps_s
