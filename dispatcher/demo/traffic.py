"""The producers of the demo: a campaign, and one-time passwords that arrive meanwhile on the same numbers."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dispatcher.client import Dispatcher
from dispatcher.demo.evidence import CAMPAIGN, CODE, LANES, Sent
from dispatcher.demo.parts import DemoError

_CODES_EVERY_S: Final = 0.2
# Codes go first: more of them than the numbers can send would keep the campaign waiting for ever.
_CODES_SHARE: Final = 0.05
_FIRST_PHONE: Final = 15550000000
_FIRST_PHONE_CODES: Final = 15555000000
_OFFER: Final = {"type": "template", "template": {"name": "spring_offer", "language": {"code": "en_US"}}}


class Traffic:
    """Sends messages from numbers of that `rate`; `sent` has each from the moment before it is sent."""

    def __init__(self, dispatcher: Dispatcher, numbers: Sequence[str], rate: float) -> None:
        self.sent: dict[str, Sent] = {}
        self._dispatcher = dispatcher
        self._numbers = numbers
        self._codes_every_s = max(_CODES_EVERY_S, 1 / (_CODES_SHARE * rate * len(numbers)))

    async def campaign(self, count: int) -> None:
        """Queue so many template messages, spread over the numbers."""
        async for ticket in self._dispatcher.send_many(self._offers(count)):
            if ticket.error is not None:
                raise DemoError(f"{ticket.key} was refused: {ticket.error}")

    async def codes(self, enough: asyncio.Event) -> None:
        """Queue up to five one-time passwords a second, in turn on each number, until there are `enough`."""
        for place in itertools.count():
            if enough.is_set():
                return
            phone, code = _FIRST_PHONE_CODES + place, f"{place * 7919 % 1_000_000:06d}"
            await self._dispatcher.send(self._message(CODE, place, phone, _code_template(code)))
            await asyncio.sleep(self._codes_every_s)

    def _offers(self, count: int) -> Iterator[dict[str, Any]]:
        for place in range(count):
            yield self._message(CAMPAIGN, place, _FIRST_PHONE + place, _OFFER)

    def _message(self, kind: str, place: int, phone: int, content: dict[str, Any]) -> dict[str, Any]:
        key, number = f"{kind}-{place:06d}", self._numbers[place % len(self._numbers)]
        self.sent[key] = Sent(key, number, time.monotonic())
        # `evidence` also for the codes, which by default are sent again after an uncertain outcome even without it: so
        # whatever is accepted twice here is a promise broken.
        return {
            "number": number, "to": f"+{phone}", "key": key, "priority": LANES[kind], "on_uncertain": "evidence",
            "campaign": "spring" if kind == CAMPAIGN else None, "content": content,
        }  # fmt: skip


def _code_template(code: str) -> dict[str, Any]:
    parameters = [{"type": "text", "text": code}]
    components = [
        {"type": "body", "parameters": parameters},
        {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters},
    ]
    template = {"name": "login_code", "language": {"code": "en_US"}, "components": components}
    return {"type": "template", "template": template}
