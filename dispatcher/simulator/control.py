"""The control API over HTTP, for those outside: rules, faults, numbers, latency, the door, webhooks, the ledger."""

import asyncio
import json
from collections.abc import Awaitable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, get_type_hints

from dispatcher.simulator import answers
from dispatcher.simulator.faults import Faults
from dispatcher.simulator.orders import fields
from dispatcher.simulator.rules import Rule
from dispatcher.simulator.settings import Number
from dispatcher.simulator.webhooks.desk import Desk, Route

if TYPE_CHECKING:
    from dispatcher.simulator.protocol import Request
    from dispatcher.simulator.server import Simulator

PREFIXES = (b"/_control/", b"/_ledger")
RULE_FIELDS = get_type_hints(Rule)
FAULT_FIELDS = get_type_hints(Faults)
NUMBER_FIELDS = {"id": str, **get_type_hints(Number)}
LATENCY_FIELDS = {"latency_ms": float, "jitter_ms": float}
REFUSE_FIELDS = {"seconds": float}
REFUSALS = (ValueError, TypeError, KeyError)


class Control:
    """Never counts in the ledger. A wrong order changes nothing and gets a 400 that says why."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        # Orders that take their time: verifying a URL, waiting for webhooks.
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[tuple[bytes, bytes], Route] = {
            (b"POST", b"/_control/rules"): self._add_rules,
            (b"DELETE", b"/_control/rules"): self._clear_rules,
            (b"POST", b"/_control/faults"): self._set_faults,
            (b"DELETE", b"/_control/faults"): self._clear_faults,
            (b"POST", b"/_control/numbers"): self._add_number,
            (b"POST", b"/_control/latency"): self._set_latency,
            (b"POST", b"/_control/refuse"): self._refuse,
            (b"GET", b"/_ledger"): self._report,
            (b"GET", b"/_ledger/requests"): self._requests,
            (b"DELETE", b"/_ledger"): self._reset,
            **Desk(simulator.webhooks).routes,
        }

    def handle(self, request: "Request") -> None:
        """Do what is ordered."""
        route = self._routes.get((request.method, request.target))
        if route is None:
            _reply(request, 404, {"error": f"no such control: {request.method!r} {request.target!r}"})
            return
        try:
            result = route(json.loads(request.body) if request.body else {})
        except REFUSALS as exc:
            _refuse(request, exc)
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
        rules = [Rule(**fields(one, RULE_FIELDS)) for one in (order if isinstance(order, list) else [order])]
        for rule in rules:
            self._simulator.rules.add(rule)
        return {"rules": len(self._simulator.rules)}

    def _clear_rules(self, _order: Any) -> object:
        self._simulator.rules.clear()
        return {"rules": 0}

    def _set_faults(self, order: Any) -> object:
        self._simulator.faults = Faults(**fields(order, FAULT_FIELDS))
        return {"faults": self._simulator.faults.chances()}

    def _clear_faults(self, _order: Any) -> object:
        self._simulator.faults = Faults()
        return {"faults": {}}

    def _add_number(self, order: Any) -> object:
        values = fields(order, NUMBER_FIELDS)
        number = values.pop("id")
        self._simulator.add_number(number, Number(**values))
        return {"number": number}

    def _set_latency(self, order: Any) -> object:
        values = fields(order, LATENCY_FIELDS)
        self._simulator.set_latency(**{"latency_ms": 0.0, **values})
        return values

    def _refuse(self, order: Any) -> object:
        seconds = fields(order, REFUSE_FIELDS)["seconds"]
        self._simulator.refuse_soon(seconds)
        return {"seconds": seconds}

    def _report(self, _order: Any) -> object:
        return self._simulator.ledger.report()

    def _requests(self, _order: Any) -> object:
        return list(self._simulator.ledger.requests())

    def _reset(self, _order: Any) -> object:
        self._simulator.ledger.reset()
        return {"requests": 0}


async def _reply_later(request: "Request", result: Awaitable[object]) -> None:
    try:
        _reply(request, 200, await result)
    except REFUSALS as exc:
        _refuse(request, exc)


def _refuse(request: "Request", exc: Exception) -> None:
    _reply(request, 400, {"error": f"{type(exc).__name__}: {exc}"})


def _reply(request: "Request", status: int, result: object) -> None:
    body = json.dumps(result).encode()
    request.answer(answers.head(status, len(body)), body)
