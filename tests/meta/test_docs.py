"""docs/events.md: its fields and types are those of the code, and its consumer runs."""

import asyncio
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from dispatcher import Dispatcher, Event, Incoming
from dispatcher.message.event import TYPES
from dispatcher.store.embedded import Server

DOCS = (Path(__file__).parents[2] / "docs" / "events.md").read_text()


def rows(heading: str) -> list[str]:
    """The first cells of the table under a heading."""
    table = DOCS.split(heading, 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)


def test_the_page_lists_every_field_and_type() -> None:
    assert rows("## An event\n\n") == [field.name for field in fields(Event)]
    assert rows("| type | it means | `cause` |") == list(TYPES)
    assert set(rows("| field | `inbound` | `updates` |")) == {field.name for field in fields(Incoming)} - {
        "id",
        "v",
        "more",
    }


def examples() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL):
        exec(block, found)
    return found


async def test_the_consumer_of_the_page_runs(server: Server, redis: "Redis") -> None:
    raw: Any = redis
    for i, kind in enumerate(("accepted", "dead", "sent", "expired")):
        extra = json.dumps({"callback_data": f"order={i}"})
        entry = {"v": "1", "type": kind, "key": f"k{i}", "cause": "rejected", "error": "100", "extra": extra}
        await raw.xadd("dispatch:{main}:events", entry)
    found: list[tuple[str, ...]] = []
    done = asyncio.Event()

    async def work(*given: str) -> None:
        found.append(given)
        if len(found) == 2:
            done.set()

    consumer = asyncio.create_task(examples()["consume"](server.url, work))
    await asyncio.wait_for(done.wait(), 5)
    consumer.cancel()
    await asyncio.wait([consumer])
    assert found == [("k1", "order=1", "rejected", "100"), ("k3", "order=3", "rejected", "100")]


async def test_the_callback_of_the_page_runs(server: Server, redis: "Redis") -> None:
    raw: Any = redis
    async with Dispatcher.connect(server.url) as d:
        await examples()["callback"](d, b'{"entry":[]}')
    assert await raw.xlen("dispatch:{main}:webhooks") == 1
