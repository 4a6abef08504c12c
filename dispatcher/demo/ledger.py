"""Reads the simulator's ledger, and finds out how its clock stands to ours."""

import asyncio
import json
import time
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from dispatcher.demo.evidence import Post, Window

_TIMEOUT_S: Final = 30.0
_CLOSE_ENOUGH_S: Final = 0.001
_TRIES: Final = 50


class Ledger:
    """The ledger of the simulator at `url`."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port
        self._began_s = 0.0

    async def begin(self) -> None:
        """Empty the ledger. Its times count from that moment, which lies between our question and its answer."""
        await asyncio.to_thread(self._begin)

    async def read(self) -> tuple[tuple[Post, ...], dict[str, Window], int]:
        """Return all POSTs in the order of their arrival, the window of each number, and how many keys overlapped."""
        return await asyncio.to_thread(self._read)

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

    def _read(self) -> tuple[tuple[Post, ...], dict[str, Window], int]:
        connection = self._connect()
        try:
            rows, report = _ask(connection, "GET", "/_ledger/requests"), _ask(connection, "GET", "/_ledger")
        finally:
            connection.close()
        windows = {
            number: Window(page["rate"], page["largest_window"], page["over_limit"])
            for number, page in report["numbers"].items()
        }
        return tuple(self._post(row) for row in rows), windows, report["overlapping"]["count"]

    def _post(self, row: dict[str, Any]) -> Post:
        at_s = self._began_s + row["arrived_ms"] / 1000
        claim = -1 if row["claim"] is None else row["claim"]
        return Post(row["key"] or "", claim, row["number"], at_s, row["outcome"], row["status"], row["wamid"])

    def _connect(self) -> HTTPConnection:
        return HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)


def _ask(connection: HTTPConnection, method: str, path: str) -> Any:
    connection.request(method, path)
    return json.loads(connection.getresponse().read())
