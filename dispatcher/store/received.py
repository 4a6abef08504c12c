"""Webhooks that somebody else received and hands in. Knows that they are JSON objects, and nothing else of them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from dispatcher import errors
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line
from dispatcher.meta.parsing import parsed

BYTES_MAX: Final = 3 * 2**20
"""Meta's webhooks have at most 3 MB."""


class Received:
    """Puts webhooks where they are worked off; raises `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line = line
        self._keys = keys

    async def add(self, payload: Mapping[str, Any] | bytes) -> None:
        """Append one webhook.

        Raises:
            Refused: it is no JSON object, or too long.
            QueueFull: the server has no room.
        """
        await self._line.command("XADD", self._keys("webhooks"), "*", "body", body(payload), "from", "receive")


def body(payload: object) -> bytes:
    """Return a webhook as bytes: those that were given, or the object in compact JSON.

    Raises:
        Refused: it is no JSON object, or too long.
    """
    found = bytes(payload) if isinstance(payload, bytes | bytearray | memoryview) else _written(payload)
    if len(found) > BYTES_MAX:
        raise errors.Refused("payload", f"must have at most {BYTES_MAX:,} bytes, has {len(found):,}")
    try:
        is_object = isinstance(parsed(found), dict)
    except ValueError as exc:
        raise errors.Refused("payload", f"is no JSON: {exc}") from None
    if not is_object:
        raise errors.Refused("payload", "must be a JSON object, as Meta posts it")
    return found


def _written(payload: object) -> bytes:
    if not isinstance(payload, Mapping):
        raise errors.Refused("payload", f"must be an object or bytes, given {type(payload).__name__}")
    try:
        # escapes whatever is not ASCII: half an emoji, which json.loads lets through, has no other form
        return json.dumps(dict(payload), separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise errors.Refused("payload", f"cannot be written as JSON: {str(exc)[:200]}") from None
