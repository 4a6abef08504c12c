"""Reads the bodies of requests, within limits of size, time and memory. Knows nothing of what they say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import Receive

BODY_BYTES_MAX: Final = 3 * 1024 * 1024
"""What Meta sends at most; more is read to its end up to twice that, so that the sender hears the answer."""
BODY_TIMEOUT_S: Final = 10.0
IN_HAND_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of all bodies together that are not answered: anybody can send bodies, only their ends show who signed them."""


class TurnedAwayError(Exception):
    """A request that is not taken; its one argument is the outcome."""


class Bodies:
    """All that is being read in a process; what is declared of a length does not matter, what comes does."""

    def __init__(self, timeout_s: float = BODY_TIMEOUT_S, in_hand_bytes_max: int = IN_HAND_BYTES_MAX) -> None:
        self._timeout_s = timeout_s
        self._in_hand_bytes_max = in_hand_bytes_max
        self._in_hand_bytes = 0

    @asynccontextmanager
    async def read(self, receive: Receive) -> AsyncIterator[bytes]:
        """Read a body, which counts as in hand while the block runs.

        Raises:
            TurnedAwayError: `too_large`, `slow`, `crowded`, or `gone` where the sender is.
        """
        parts: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._collect(receive, parts)
            except TimeoutError:
                raise TurnedAwayError("slow") from None
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._in_hand_bytes -= sum(map(len, parts))

    async def _collect(self, receive: Receive, parts: list[bytes]) -> None:
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise TurnedAwayError("gone")
            part = message.get("body", b"")
            size += len(part)
            if size <= BODY_BYTES_MAX:
                parts.append(part)
                self._in_hand_bytes += len(part)
            if self._in_hand_bytes > self._in_hand_bytes_max:
                raise TurnedAwayError("crowded")
            if size > 2 * BODY_BYTES_MAX:
                raise TurnedAwayError("too_large")
            if not message.get("more_body", False):
                break
        if size > BODY_BYTES_MAX:
            raise TurnedAwayError("too_large")
