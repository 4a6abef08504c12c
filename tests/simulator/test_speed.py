"""A simulator that is slower than what it judges would judge itself."""

import asyncio

import httpx

from tests.simulator.wire import Wire, raw, text_to

CONNECTIONS = 32
REQUESTS = 4000
FLOOR_PER_S = 2000
# Short answers to short questions: the client must not be what is measured, so it sends a few at once.
AT_ONCE = 5


async def load(url: str, connection: int) -> None:
    wire = await Wire.to(url)
    per_connection = REQUESTS // CONNECTIONS
    for place in range(0, per_connection, AT_ONCE):
        wire.send(b"".join(raw(text_to(key=f"{connection}-{place + more}")) for more in range(AT_ONCE)))
        for _ in range(AT_ONCE):
            await wire.reader.readuntil(b'"}]}')
    await wire.close()


async def test_two_thousand_requests_a_second_are_answered(simulator_process: str) -> None:
    async with httpx.AsyncClient(base_url=simulator_process, trust_env=False) as control:
        for path in ("/_ledger", "/_control/rules", "/_control/faults"):
            await control.delete(path)
        await asyncio.gather(*(load(simulator_process, connection) for connection in range(CONNECTIONS)))
        report = (await control.get("/_ledger")).json()
    (page,) = report["numbers"].values()
    took_s = (page["last_arrival_ms"] - page["first_arrival_ms"]) / 1000
    assert report["accepted_once"] == REQUESTS
    assert REQUESTS / took_s > FLOOR_PER_S
