"""The control orders about webhooks: settings, verification, waiting, held templates, inbound messages."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from dispatcher.simulator.orders import fields
from dispatcher.simulator.webhooks.office import PAUSED_TEMPLATE, Webhooks
from dispatcher.simulator.webhooks.settings import FIELDS

TEMPLATE_FIELDS = {"template": str}
DROP_FIELDS = {"template": str, "code": int}
SETTLE_FIELDS = {"timeout_s": float}
VERIFY_FIELDS = {"verify_token": str}
TEXT_FIELDS = {"number": str, "from": str, "text": str}
PREFERENCE_FIELDS = {"number": str, "from": str, "preference": str}
CHANGE_FIELDS = {"change": dict, "waba_id": str}
SECRETS = ("secret", "verify_token")

Route = Callable[[Any], object | Awaitable[object]]


class Desk:
    """Takes orders, by method and path. What takes its time is awaited by the caller."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self.routes: dict[tuple[bytes, bytes], Route] = {
            (b"GET", b"/_control/webhooks"): self._show,
            (b"POST", b"/_control/webhooks"): self._change,
            (b"POST", b"/_control/webhooks/verify"): self._verify,
            (b"POST", b"/_control/webhooks/settle"): self._settle,
            (b"POST", b"/_control/templates/hold"): self._hold,
            (b"POST", b"/_control/templates/release"): self._release,
            (b"POST", b"/_control/templates/drop"): self._drop,
            (b"POST", b"/_control/inbound"): self._receive,
        }

    def _show(self, _order: Any) -> object:
        settings = asdict(self._webhooks.settings)
        return settings | {name: "***" for name in SECRETS if settings[name] is not None}

    def _change(self, order: Any) -> object:
        self._webhooks.change(**fields(order, FIELDS))
        return self._show(order)

    async def _verify(self, order: Any) -> object:
        found = await self._webhooks.verify(fields(order, VERIFY_FIELDS).get("verify_token"))
        return found.report()

    async def _settle(self, order: Any) -> object:
        is_settled = await self._webhooks.settled(**fields(order, SETTLE_FIELDS))
        tally = self._webhooks.tally
        return {"is_settled": is_settled, "waiting": tally.waiting, "held": tally.held, "given_up": tally.given_up}

    def _hold(self, order: Any) -> object:
        template = fields(order, TEMPLATE_FIELDS, ("template",))["template"]
        self._webhooks.hold(template)
        return {"template": template}

    def _release(self, order: Any) -> object:
        return {"messages": self._webhooks.release(fields(order, TEMPLATE_FIELDS, ("template",))["template"])}

    def _drop(self, order: Any) -> object:
        values = fields(order, DROP_FIELDS, ("template",))
        return {"messages": self._webhooks.drop(values["template"], values.get("code", PAUSED_TEMPLATE))}

    def _receive(self, order: Any) -> object:
        if isinstance(order, dict) and "change" in order:
            values = fields(order, CHANGE_FIELDS)
            self._webhooks.receive(values["change"], values.get("waba_id"))
        elif isinstance(order, dict) and "preference" in order:
            values = fields(order, PREFERENCE_FIELDS, ("number", "from"))
            self._webhooks.receive_preference(values["number"], values["from"], values["preference"])
        else:
            values = fields(order, TEXT_FIELDS, tuple(TEXT_FIELDS))
            self._webhooks.receive_text(values["number"], values["from"], values["text"])
        return {"inbound": self._webhooks.tally.inbound}
