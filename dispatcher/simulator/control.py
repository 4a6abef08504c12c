"""The control API over HTTP, for those outside: rules, faults, numbers, latency, refusing, webhooks, the ledger."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, get_type_hints

from dispatcher.simulator.answers import send_json
from dispatcher.simulator.codes import PAUSED_TEMPLATE
from dispatcher.simulator.faults import AnswerRule, Faults
from dispatcher.simulator.protocol import Request
from dispatcher.simulator.settings import WEBHOOK_FIELDS, SimulatedNumber

if TYPE_CHECKING:
    from dispatcher.simulator.server import Simulator

CONTROL_PATHS = (b"/_control/", b"/_ledger")
RULE_FIELDS = get_type_hints(AnswerRule)
FAULT_FIELDS = get_type_hints(Faults)
NUMBER_FIELDS = {"id": str, **get_type_hints(SimulatedNumber)}
LATENCY_FIELDS = {"latency_ms": float, "jitter_ms": float}
REFUSE_FIELDS = {"seconds": float}
TEMPLATE_FIELDS = {"template": str}
DROP_FIELDS = {"template": str, "code": int}
SETTLE_FIELDS = {"timeout_s": float}
VERIFY_FIELDS = {"verify_token": str}
TEXT_FIELDS = {"number": str, "from": str, "text": str}
PREFERENCE_FIELDS = {"number": str, "from": str, "preference": str}
CHANGE_FIELDS = {"change": dict, "waba_id": str}
SECRETS = ("secret", "verify_token")
WRONG_ORDERS = (ValueError, TypeError)

Route = Callable[[Any], object | Awaitable[object]]


class ControlApi:
    """Never counts in the ledger. A wrong order changes nothing and gets a 400 that says why."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        # Orders that take their time: verifying a URL, waiting for webhooks.
        self._tasks: set[asyncio.Task[None]] = set()
        self.routes: dict[tuple[bytes, bytes], Route] = {
            (b"POST", b"/_control/rules"): self._add_rules,
            (b"DELETE", b"/_control/rules"): self._clear_rules,
            (b"POST", b"/_control/faults"): self._set_faults,
            (b"DELETE", b"/_control/faults"): self._clear_faults,
            (b"POST", b"/_control/numbers"): self._add_number,
            (b"POST", b"/_control/latency"): self._set_latency,
            (b"POST", b"/_control/refuse"): self._refuse_connects,
            (b"GET", b"/_ledger"): self._show_ledger,
            (b"GET", b"/_ledger/requests"): self._list_requests,
            (b"DELETE", b"/_ledger"): self._reset_ledger,
            (b"GET", b"/_control/webhooks"): self._show_webhooks,
            (b"POST", b"/_control/webhooks"): self._change_webhooks,
            (b"POST", b"/_control/webhooks/verify"): self._verify_url,
            (b"POST", b"/_control/webhooks/settle"): self._settle_webhooks,
            (b"POST", b"/_control/templates/hold"): self._hold_template,
            (b"POST", b"/_control/templates/release"): self._release_template,
            (b"POST", b"/_control/templates/drop"): self._drop_template,
            (b"POST", b"/_control/inbound"): self._receive_inbound,
        }

    def handle(self, request: Request) -> None:
        """Do what is ordered."""
        route = self.routes.get((request.method, request.target))
        if route is None:
            _reply(request, 404, {"error": f"no such control: {request.method!r} {request.target!r}"})
            return
        try:
            result = route(json.loads(request.body) if request.body else {})
        except WRONG_ORDERS as exc:
            _reply_refusal(request, exc)
            return
        if isawaitable(result):
            task = asyncio.get_running_loop().create_task(_reply_later(request, result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            _reply(request, 200, result)

    async def stop(self) -> None:
        """Answer nothing any more."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _add_rules(self, order: Any) -> object:
        rules = [AnswerRule(**_fields(one, RULE_FIELDS)) for one in (order if isinstance(order, list) else [order])]
        for rule in rules:
            self._simulator.rules.add(rule)
        return {"rules": len(self._simulator.rules)}

    def _clear_rules(self, _order: Any) -> object:
        self._simulator.rules.clear()
        return {"rules": 0}

    def _set_faults(self, order: Any) -> object:
        self._simulator.faults = Faults(**_fields(order, FAULT_FIELDS))
        return {"faults": self._simulator.faults.chances()}

    def _clear_faults(self, _order: Any) -> object:
        self._simulator.faults = Faults()
        return {"faults": {}}

    def _add_number(self, order: Any) -> object:
        values = _fields(order, NUMBER_FIELDS, ("id",))
        number = values.pop("id")
        self._simulator.add_number(number, SimulatedNumber(**values))
        return {"number": number}

    def _set_latency(self, order: Any) -> object:
        values = _fields(order, LATENCY_FIELDS)
        self._simulator.set_latency(**{"latency_ms": 0.0, **values})
        return values

    def _refuse_connects(self, order: Any) -> object:
        seconds = _fields(order, REFUSE_FIELDS, ("seconds",))["seconds"]
        self._simulator.refuse_soon(seconds)
        return {"seconds": seconds}

    def _show_ledger(self, _order: Any) -> object:
        return self._simulator.ledger.report()

    def _list_requests(self, _order: Any) -> object:
        return list(self._simulator.ledger.requests())

    def _reset_ledger(self, _order: Any) -> object:
        self._simulator.ledger.reset()
        return {"requests": 0}

    def _show_webhooks(self, _order: Any) -> object:
        settings = asdict(self._simulator.webhooks.settings)
        return settings | {name: "***" for name in SECRETS if settings[name] is not None}

    def _change_webhooks(self, order: Any) -> object:
        self._simulator.webhooks.change(**_fields(order, WEBHOOK_FIELDS))
        return self._show_webhooks(order)

    async def _verify_url(self, order: Any) -> object:
        found = await self._simulator.webhooks.verify(_fields(order, VERIFY_FIELDS).get("verify_token"))
        return found.report()

    async def _settle_webhooks(self, order: Any) -> object:
        is_settled = await self._simulator.webhooks.settled(**_fields(order, SETTLE_FIELDS))
        counts = self._simulator.webhooks.counts
        return {"is_settled": is_settled, "waiting": counts.waiting, "held": counts.held, "given_up": counts.given_up}

    def _hold_template(self, order: Any) -> object:
        template = _fields(order, TEMPLATE_FIELDS, ("template",))["template"]
        self._simulator.webhooks.hold(template)
        return {"template": template}

    def _release_template(self, order: Any) -> object:
        template = _fields(order, TEMPLATE_FIELDS, ("template",))["template"]
        return {"messages": self._simulator.webhooks.release(template)}

    def _drop_template(self, order: Any) -> object:
        values = _fields(order, DROP_FIELDS, ("template",))
        return {"messages": self._simulator.webhooks.drop(values["template"], values.get("code", PAUSED_TEMPLATE))}

    def _receive_inbound(self, order: Any) -> object:
        if isinstance(order, dict) and "change" in order:
            values = _fields(order, CHANGE_FIELDS)
            self._simulator.webhooks.receive(values["change"], values.get("waba_id"))
        elif isinstance(order, dict) and "preference" in order:
            values = _fields(order, PREFERENCE_FIELDS, ("number", "from"))
            self._simulator.webhooks.receive_preference(values["number"], values["from"], values["preference"])
        else:
            values = _fields(order, TEXT_FIELDS, tuple(TEXT_FIELDS))
            self._simulator.webhooks.receive_text(values["number"], values["from"], values["text"])
        return {"inbound": self._simulator.webhooks.counts.inbound}


def _fields(order: Any, known: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an order says, whole numbers made floats where a float is wanted.

    Raises:
        TypeError: It is no object, or a value has the wrong type.
        ValueError: A field is not known, or missing.
    """
    if not isinstance(order, dict):
        raise TypeError("an object is wanted")
    missing = [name for name in required if name not in order]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    values: dict[str, Any] = {}
    for name, value in order.items():
        if name not in known:
            raise ValueError(f"unknown field {name!r}; known are {sorted(known)}")
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        values[name] = float(value) if is_whole and not isinstance(value, known[name]) else value
        if not isinstance(values[name], known[name]):
            raise TypeError(f"{name} is {known[name]}, not {value!r}")
    return values


async def _reply_later(request: Request, result: Awaitable[object]) -> None:
    try:
        _reply(request, 200, await result)
    except WRONG_ORDERS as exc:
        _reply_refusal(request, exc)


def _reply_refusal(request: Request, exc: Exception) -> None:
    _reply(request, 400, {"error": f"{type(exc).__name__}: {exc}"})


def _reply(request: Request, status: int, result: object) -> None:
    send_json(request, status, json.dumps(result).encode())
