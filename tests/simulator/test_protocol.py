import asyncio
import json
import time

import httpx
import pytest

from dispatcher.simulator import Simulator
from dispatcher.simulator.protocol import Connection, Listener, Request
from tests.servers import PATIENCE_S
from tests.simulator.wire import NO_ANSWER_S, Wire, filed, raw, text_to


async def test_a_connection_is_kept_for_the_next_request(url: str) -> None:
    wire = await Wire.to(url)
    for key in ("a", "b"):
        wire.send(raw(text_to(key=key)))
        status, fields, _ = await wire.answer()
        assert status == 200
        assert "connection" not in fields
    await wire.close()


async def test_pipelined_requests_are_answered_in_their_order(simulator: Simulator) -> None:
    simulator.set_latency(1, jitter_ms=30)
    wire = await Wire.to(simulator.url)
    wire.send(b"".join(raw(text_to(to=f"+155512345{place:02}", key=str(place))) for place in range(20)))
    inputs = [json.loads((await wire.answer())[2])["contacts"][0]["input"] for _ in range(20)]
    assert inputs == [f"+155512345{place:02}" for place in range(20)]
    await wire.close()


async def test_requests_in_any_pieces_are_read(url: str) -> None:
    wire = await Wire.to(url)
    for byte in raw(text_to()):
        wire.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await wire.answer())[0] == 200
    await wire.close()


async def test_a_chunked_body_is_read(url: str) -> None:
    wire = await Wire.to(url)
    body = json.dumps(text_to()).encode()
    head = raw(b"", Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
    wire.send(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
    assert (await wire.answer())[0] == 200
    await wire.close()


async def test_a_client_that_wants_to_close_is_closed(url: str) -> None:
    wire = await Wire.to(url)
    wire.send(raw(text_to(), Connection="close"))
    status, fields, _ = await wire.answer()
    assert (status, fields["connection"]) == (200, "close")
    assert await wire.rest() == b""
    await wire.close()


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(url: str) -> None:
    wire = await Wire.to(url)
    head, _, body = raw(text_to(), Expect="100-continue").partition(b"\r\n\r\n")
    wire.send(head + b"\r\n\r\n")
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(body)
    assert (await wire.answer())[0] == 200
    await wire.close()


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
)
async def test_what_is_no_http_is_refused_and_closed(url: str, data: bytes) -> None:
    wire = await Wire.to(url)
    wire.send(data)
    assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
    await wire.close()


async def test_a_body_that_is_too_large_is_refused_and_closed(simulator: Simulator) -> None:
    wire = await Wire.to(simulator.url)
    wire.send(raw(b" " * 1_048_577))
    assert (await wire.rest()).startswith(b"HTTP/1.1 413 ")
    assert len(simulator.ledger) == 0
    await wire.close()


class Slow(Connection):
    """Takes its time to parse, and notes when it began."""

    def parse(self, arrived_ns: int, data: bytes) -> None:
        parsed.append((arrived_ns, time.monotonic_ns(), data))
        if data == b"broken":
            raise RuntimeError("a bug")


parsed: list[tuple[int, int, bytes]] = []


def nothing(_: Request) -> None:
    pass


async def test_arrivals_of_one_turn_of_the_loop_are_stamped_before_any_is_parsed() -> None:
    """A simulator that works on one request while others wait must not make those look late."""
    loop = asyncio.get_running_loop()
    bugs: list[object] = []
    loop.set_exception_handler(lambda _, context: bugs.append(context["exception"]))
    listener = Listener("127.0.0.1", 0, on_request=nothing, on_ended=nothing)
    connection = Slow(listener)
    parsed.clear()
    for data in (b"first", b"broken", b"last"):
        listener.arrivals.put(connection, data)
    while len(parsed) < 3:
        await asyncio.sleep(0)
    assert [data for _, _, data in parsed] == [b"first", b"broken", b"last"]
    assert max(arrived_ns for arrived_ns, _, _ in parsed) <= parsed[0][1]
    assert len(bugs) == 1


async def test_a_request_that_its_client_no_longer_waits_for_is_still_counted(simulator: Simulator) -> None:
    simulator.set_latency(20)
    wire = await Wire.to(simulator.url)
    wire.send(raw(text_to()))
    await wire.close()
    await filed(simulator, 1)
    assert simulator.ledger.accepted == 1


async def test_answers_take_their_latency(simulator: Simulator) -> None:
    """Those to orders do not."""
    simulator.set_latency(3_600_000)
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=PATIENCE_S) as control:
        assert (await control.get("/_ledger")).status_code == 200
    simulator.set_latency(NO_ANSWER_S * 1000)
    wire = await Wire.to(simulator.url)
    loop = asyncio.get_running_loop()
    sent_at_s = loop.time()
    wire.send(raw(text_to()))
    await wire.answer()
    assert loop.time() - sent_at_s >= NO_ANSWER_S - 0.01
    await wire.close()


async def test_a_stop_gives_the_answers_that_are_due() -> None:
    simulator = Simulator()
    await simulator.start()
    simulator.set_latency(1000)
    wire = await Wire.to(simulator.url)
    wire.send(raw(text_to()))
    await filed(simulator, 1)
    stopping = asyncio.create_task(simulator.stop())
    status, fields, _ = await wire.answer()
    assert (status, fields["connection"]) == (200, "close")
    await stopping
    await wire.close()
