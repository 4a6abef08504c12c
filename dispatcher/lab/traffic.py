"""The producers of the demo: a campaign, one-time passwords meanwhile on the same numbers, and what comes later."""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from dispatcher.client import Dispatcher
from dispatcher.lab.evidence import CAMPAIGN, CODE, LANES, Sent
from dispatcher.lab.processes import LabError

_CODES_EVERY_S: Final = 0.2
# Codes go first: more of them than the numbers can send would keep the campaign waiting for ever.
_CODES_SHARE: Final = 0.05
# What comes later is a trickle, to each number at most these messages a second or this share of its rate.
_LATE_EVERY_S: Final = 0.25
_LATE_SHARE: Final = 0.25
_FIRST_PHONE: Final = 15550000000
_FIRST_PHONE_CODES: Final = 15555000000
_FIRST_PHONE_LATE: Final = 15558000000
_OFFER: Final = {"type": "template", "template": {"name": "spring_offer", "language": {"code": "en_US"}}}


class Traffic:
    """Sends messages from numbers of that `rate`; `sent` has each from the moment before it is sent."""

    def __init__(self, dispatcher: Dispatcher, numbers: Sequence[str], rate: float) -> None:
        self.sent: dict[str, Sent] = {}
        self._dispatcher = dispatcher
        self._numbers = numbers
        self._late_every_s = max(_LATE_EVERY_S, 1 / (_LATE_SHARE * rate))
        self._codes_every_s = max(_CODES_EVERY_S, 1 / (_CODES_SHARE * rate * len(numbers)))

    async def campaign(self, count: int) -> None:
        """Queue so many template messages, spread over the numbers."""
        async for ticket in self._dispatcher.send_many(self._offers(count)):
            if ticket.error is not None:
                raise LabError(f"{ticket.key} was refused: {ticket.error}")

    async def codes(self, is_wanted: Callable[[], bool]) -> None:
        """Queue up to five one-time passwords a second, in turn on each number, for as long as they are wanted."""
        for place in itertools.count():
            if not is_wanted():
                return
            number = self._numbers[place % len(self._numbers)]
            await self._dispatcher.send(self._message(CODE, place, number, _FIRST_PHONE_CODES + place))
            await asyncio.sleep(self._codes_every_s)

    async def trickle(self, wanted: Callable[[], Collection[tuple[str, str]]]) -> None:
        """Queue a message now and then on each number, and of each kind, that is wanted; until cancelled."""
        places = itertools.count()
        while True:
            for (number, kind), place in zip(sorted(wanted()), places, strict=False):
                await self._dispatcher.send(self._message(kind, place, number, _FIRST_PHONE_LATE + place))
            await asyncio.sleep(self._late_every_s)

    def _offers(self, count: int) -> Iterator[dict[str, Any]]:
        for place in range(count):
            yield self._message(CAMPAIGN, place, self._numbers[place % len(self._numbers)], _FIRST_PHONE + place)

    def _message(self, kind: str, place: int, number: str, phone: int) -> dict[str, Any]:
        key, is_code = f"{kind}-{place:06d}", LANES[kind] == "urgent"
        self.sent[key] = Sent(key, number, time.monotonic())
        # `evidence` also for the codes, which by default are sent again after an uncertain outcome even without it: so
        # whatever is accepted twice here is a promise broken.
        return {
            "number": number, "to": f"+{phone}", "key": key, "priority": LANES[kind], "on_uncertain": "evidence",
            "campaign": None if is_code else "spring", "content": _code_template(place) if is_code else _OFFER,
        }  # fmt: skip


def _code_template(place: int) -> dict[str, Any]:
    parameters = [{"type": "text", "text": f"{place * 7919 % 1_000_000:06d}"}]
    components = [
        {"type": "body", "parameters": parameters},
        {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters},
    ]
    template = {"name": "login_code", "language": {"code": "en_US"}, "components": components}
    return {"type": "template", "template": template}
