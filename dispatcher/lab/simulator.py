"""Talks to a running simulator: orders what it does, reads its ledger, and finds out how its clock stands to ours."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from dispatcher.lab.evidence import Post, Webhooks, Window
from dispatcher.lab.processes import LabError

_TIMEOUT_S: Final = 60.0
_TRIES_LEAST: Final = 5
_TRIES_MOST: Final = 50
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class LedgerContents:
    """What the ledger holds: POSTs in the order of arrival, windows by number, how many keys overlapped, webhooks."""

    posts: tuple[Post, ...]
    windows: Mapping[str, Window]
    overlapping: int
    webhooks: Webhooks


class SimulatorClient:
    """The simulator at `url`. Every call raises `LabError` if it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._asked_s = self._began_s = 0.0

    async def send_webhooks(self, verify_token: str, **settings: object) -> None:
        """Have webhooks sent as `settings` say, and the URL verified as Meta does; `LabError` if that fails."""
        await self.ask("POST", "/_control/webhooks", settings)
        found = await self.ask("POST", "/_control/webhooks/verify", {"verify_token": verify_token})
        if not found["is_verified"]:
            raise LabError(f"the API does not answer the verification: {found}")

    async def webhooks_settled(self, limit_s: float) -> None:
        """Wait until every webhook is delivered."""
        await self.ask("POST", "/_control/webhooks/settle", {"timeout_s": min(limit_s, _TIMEOUT_S / 2)})

    async def add_rule(self, **fields: object) -> None:
        """Order what POSTs get that match; see the simulator's rules."""
        await self.ask("POST", "/_control/rules", fields)

    async def begin(self) -> None:
        """Empty the ledger. Its times count from that moment, which lies between our question and its answer.

        Tried until a round trip is as quick as any before, so that little is left between the two.
        """
        await asyncio.to_thread(self._begin)

    async def contents(self) -> LedgerContents:
        """Return what the ledger holds, times by our monotonic clock."""
        rows, report = await self.ask("GET", "/_ledger/requests"), await self.report()
        windows = {
            number: Window(page["rate"], page["largest_window"], page["over_limit"])
            for number, page in report["numbers"].items()
        }
        began_s = (self._asked_s + self._began_s) / 2
        posts = tuple(_post(row, began_s) for row in rows)
        return LedgerContents(posts, windows, report["overlapping"]["count"], _webhooks(report["webhooks"]))

    async def posts(self) -> list[Post]:
        """Return all POSTs in the order of arrival; their times may be late by a round trip, and never early."""
        return [_post(row, self._began_s) for row in await self.ask("GET", "/_ledger/requests")]

    async def report(self) -> dict[str, Any]:
        """Return the ledger's own summary."""
        return dict(await self.ask("GET", "/_ledger"))

    async def ask(self, method: str, path: str, order: Mapping[str, object] | None = None) -> Any:
        """Make a request, whose answer is JSON, over a connection of its own."""
        return await asyncio.to_thread(self._ask_once, method, path, order)

    def _ask_once(self, method: str, path: str, order: Mapping[str, object] | None) -> Any:
        connection = self._connect()
        try:
            return _ask(connection, method, path, order)
        finally:
            connection.close()

    def _begin(self) -> None:
        connection, quickest_s = self._connect(), float("inf")
        try:
            for tries in range(_TRIES_MOST):
                self._asked_s = time.monotonic()
                _ask(connection, "DELETE", "/_ledger")
                self._began_s = time.monotonic()
                took_s = self._began_s - self._asked_s
                if tries >= _TRIES_LEAST and took_s <= quickest_s:
                    break
                quickest_s = min(quickest_s, took_s)
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        address = urlsplit(self.url)
        return HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_S)


def _post(row: dict[str, Any], began_s: float) -> Post:
    at_s = began_s + row["arrived_ms"] / 1000
    claim = -1 if row["claim"] is None else row["claim"]
    return Post(row["key"] or "", claim, row["number"], at_s, row["outcome"], row["status"], row["wamid"])


def _webhooks(page: dict[str, Any]) -> Webhooks:
    return Webhooks(
        made=page["made"],
        duplicated=page["duplicated"],
        refused=page["not_200"],
        waiting=page["waiting"],
        statuses=page["statuses"],
        slowest_ms=page["slowest_answer_ms"],
        lost=frozenset(page["lost"]),
    )


def _ask(connection: HTTPConnection, method: str, path: str, order: Mapping[str, object] | None = None) -> Any:
    connection.request(method, path, None if order is None else json.dumps(order))
    reply = connection.getresponse()
    found = json.loads(reply.read())
    if reply.status != _OK:
        raise LabError(f"the simulator refuses {method} {path}: {found}")
    return found
