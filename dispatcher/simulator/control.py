"""The control API over HTTP, for those outside the process: rules, faults, numbers, latency, the door, the ledger."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from dispatcher.simulator import answers
from dispatcher.simulator.faults import Faults
from dispatcher.simulator.rules import Rule
from dispatcher.simulator.settings import Number

if TYPE_CHECKING:
    from dispatcher.simulator.protocol import Request
    from dispatcher.simulator.server import Simulator

PREFIXES = (b"/_control/", b"/_ledger")
RULE_FIELDS = get_type_hints(Rule)
FAULT_FIELDS = get_type_hints(Faults)
NUMBER_FIELDS = {"id": str, **get_type_hints(Number)}
LATENCY_FIELDS = {"latency_ms": float, "jitter_ms": float}
REFUSE_FIELDS = {"seconds": float}


class Control:
    """Answers at once, and never counts in the ledger. A wrong order changes nothing and gets a 400 that says why."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._routes: dict[tuple[bytes, bytes], Callable[[Any], object]] = {
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
        }

    def handle(self, request: "Request") -> None:
        """Do what is ordered."""
        route = self._routes.get((request.method, request.target))
        status: int
        result: object
        if route is None:
            status, result = 404, {"error": f"no such control: {request.method!r} {request.target!r}"}
        else:
            status, result = _perform(route, request.body)
        body = json.dumps(result).encode()
        request.answer(answers.head(status, len(body)), body)

    def _add_rules(self, order: Any) -> object:
        rules = [Rule(**_fields(one, RULE_FIELDS)) for one in (order if isinstance(order, list) else [order])]
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
        values = _fields(order, NUMBER_FIELDS)
        number = values.pop("id")
        self._simulator.add_number(number, Number(**values))
        return {"number": number}

    def _set_latency(self, order: Any) -> object:
        values = _fields(order, LATENCY_FIELDS)
        self._simulator.set_latency(**{"latency_ms": 0.0, **values})
        return values

    def _refuse(self, order: Any) -> object:
        seconds = _fields(order, REFUSE_FIELDS)["seconds"]
        self._simulator.refuse_soon(seconds)
        return {"seconds": seconds}

    def _report(self, _order: Any) -> object:
        return self._simulator.ledger.report()

    def _requests(self, _order: Any) -> object:
        return list(self._simulator.ledger.requests())

    def _reset(self, _order: Any) -> object:
        self._simulator.ledger.reset()
        return {"requests": 0}


def _perform(route: Callable[[Any], object], body: bytes) -> tuple[int, object]:
    try:
        return 200, route(json.loads(body) if body else {})
    except (ValueError, TypeError, KeyError) as exc:
        return 400, {"error": f"{type(exc).__name__}: {exc}"}


def _fields(order: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(order, dict):
        raise TypeError("an object is wanted")
    values: dict[str, Any] = {}
    for name, value in order.items():
        if name not in known:
            raise ValueError(f"unknown field {name!r}; known are {sorted(known)}")
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        values[name] = float(value) if is_whole and not isinstance(value, known[name]) else value
        if not isinstance(values[name], known[name]):
            raise TypeError(f"{name} is {known[name]}, not {value!r}")
    return values
