"""Talks to the simulator: says where its webhooks go, reads its ledger, and finds out how its clock stands to ours."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from dispatcher.lab.evidence import Post, Webhooks, Window
from dispatcher.lab.parts import DemoError

_TIMEOUT_S: Final = 30.0
_CLOSE_ENOUGH_S: Final = 0.001
_TRIES: Final = 50
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Pages:
    """What the ledger holds: POSTs in the order of arrival, windows by number, how many keys overlapped, webhooks."""

    posts: tuple[Post, ...]
    windows: Mapping[str, Window]
    overlapping: int
    webhooks: Webhooks


class Ledger:
    """The ledger of the simulator at `url`."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port
        self._began_s = 0.0

    async def send_webhooks(self, verify_token: str, **settings: object) -> None:
        """Have webhooks sent as `settings` say, and the URL verified as Meta does.

        Raises:
            DemoError: The door did not answer the verification.
        """
        await asyncio.to_thread(self._ask_once, "POST", "/_control/webhooks", settings)
        order = {"verify_token": verify_token}
        found = await asyncio.to_thread(self._ask_once, "POST", "/_control/webhooks/verify", order)
        if not found["is_verified"]:
            raise DemoError(f"the webhook door does not answer the verification: {found}")

    async def webhooks_settled(self, limit_s: float) -> None:
        """Wait until every webhook is delivered."""
        order = {"timeout_s": min(limit_s, _TIMEOUT_S / 2)}
        await asyncio.to_thread(self._ask_once, "POST", "/_control/webhooks/settle", order)

    async def begin(self) -> None:
        """Empty the ledger. Its times count from that moment, which lies between our question and its answer."""
        await asyncio.to_thread(self._begin)

    async def read(self) -> Pages:
        """Return what it holds."""
        return await asyncio.to_thread(self._read)

    def _ask_once(self, method: str, path: str, order: Mapping[str, object]) -> Any:
        connection = self._connect()
        try:
            return _ask(connection, method, path, order)
        finally:
            connection.close()

    def _begin(self) -> None:
        connection = self._connect()
        try:
            for _ in range(_TRIES):
                before_s = time.monotonic()
                _ask(connection, "DELETE", "/_ledger")
                after_s = time.monotonic()
                self._began_s = (before_s + after_s) / 2
                if after_s - before_s < _CLOSE_ENOUGH_S:
                    break
        finally:
            connection.close()

    def _read(self) -> Pages:
        connection = self._connect()
        try:
            rows, report = _ask(connection, "GET", "/_ledger/requests"), _ask(connection, "GET", "/_ledger")
        finally:
            connection.close()
        windows = {
            number: Window(page["rate"], page["largest_window"], page["over_limit"])
            for number, page in report["numbers"].items()
        }
        posts = tuple(self._post(row) for row in rows)
        return Pages(posts, windows, report["overlapping"]["count"], _webhooks(report["webhooks"]))

    def _post(self, row: dict[str, Any]) -> Post:
        at_s = self._began_s + row["arrived_ms"] / 1000
        claim = -1 if row["claim"] is None else row["claim"]
        return Post(row["key"] or "", claim, row["number"], at_s, row["outcome"], row["status"], row["wamid"])

    def _connect(self) -> HTTPConnection:
        return HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)


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
        raise DemoError(f"the simulator refuses {method} {path}: {found}")
    return found
