"""Every fault as a client sees it on the wire, on both event loops, and what the ledger says of it."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from dispatcher.simulator import AnswerRule, Faults, Simulator
from dispatcher.simulator.faults import FAULTS, FaultSampler
from tests.servers import PATIENCE_S
from tests.simulator.wire import NO_ANSWER_S, Wire, is_refused, raw, text_to

ACCEPTED = {
    "refuse",
    "reset_after",
    "close_after",
    "hang_after",
    "error_5xx_after",
    "bare_5xx_after",
    "html_after",
    "empty_200",
    "half_head",
    "half_body",
}


async def posted(url: str, fault: str) -> Wire:
    """A connection on which the fault has hit one POST; a second POST of the same key comes through elsewhere."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S) as control:
        assert (await control.post("/_control/rules", json={"fault": fault, "count": 1})).status_code == 200
    wire = await Wire.to(url)
    wire.send(raw(text_to()))
    return wire


async def filed(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S) as control:
        found: list[dict[str, Any]] = (await control.get("/_ledger/requests")).json()
    assert len(found) == 1
    assert (found[0]["wamid"] is not None) is (found[0]["outcome"] in ACCEPTED)
    return found[0]


def test_every_fault_says_whether_the_message_was_accepted() -> None:
    assert {name for name, fault in FAULTS.items() if fault.is_accepted} == ACCEPTED


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
async def test_a_reset_is_a_reset(url: str, fault: str) -> None:
    wire = await posted(url, fault)
    with pytest.raises(ConnectionResetError):
        await wire.rest()
    assert (await filed(url))["outcome"] == fault
    await wire.close()


@pytest.mark.parametrize("fault", ["close_before", "close_after"])
async def test_a_close_is_an_end_without_an_answer(url: str, fault: str) -> None:
    wire = await posted(url, fault)
    assert await wire.rest() == b""
    assert (await filed(url))["status"] is None
    await wire.close()


@pytest.mark.parametrize("fault", ["hang_before", "hang_after"])
async def test_a_hang_never_answers_and_leaves_the_connection_open(url: str, fault: str) -> None:
    wire = await posted(url, fault)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(NO_ANSWER_S):
            await wire.reader.read(1)
    assert (await filed(url))["outcome"] == fault
    await wire.close()


@pytest.mark.parametrize("fault", ["error_5xx", "error_5xx_after"])
async def test_a_5xx_with_graphs_body_is_transient(url: str, fault: str) -> None:
    wire = await posted(url, fault)
    status, _, body = await wire.answer()
    error = json.loads(body)["error"]
    assert (status, error["code"]) in {(500, 1), (503, 2), (500, 131000), (500, 131016)}
    assert error["is_transient"] is True
    assert (await filed(url))["code"] == error["code"]
    await wire.close()


@pytest.mark.parametrize("fault", ["bare_5xx", "bare_5xx_after"])
async def test_a_bare_5xx_has_no_body(url: str, fault: str) -> None:
    wire = await posted(url, fault)
    status, _, body = await wire.answer()
    assert 500 <= status <= 504
    assert body == b""
    assert (await filed(url))["status"] == status
    await wire.close()


@pytest.mark.parametrize("fault", ["html", "html_after"])
async def test_html_is_a_page_for_people(url: str, fault: str) -> None:
    wire = await posted(url, fault)
    status, fields, body = await wire.answer()
    assert (status, fields["content-type"]) == (502, "text/html; charset=utf-8")
    assert b"<html>" in body
    assert (await filed(url))["outcome"] == fault
    await wire.close()


async def test_an_empty_200_has_no_body(url: str) -> None:
    wire = await posted(url, "empty_200")
    status, _, body = await wire.answer()
    assert (status, body) == (200, b"")
    assert (await filed(url))["status"] == 200
    await wire.close()


async def test_half_a_body_ends_before_the_length_it_announced(url: str) -> None:
    wire = await posted(url, "half_body")
    head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
    announced = int(head.lower().partition(b"content-length: ")[2])
    assert head.startswith(b"HTTP/1.1 200 ")
    assert len(body) == announced // 2
    assert (await filed(url))["outcome"] == "half_body"
    await wire.close()


async def test_half_a_head_ends_within_the_head(url: str) -> None:
    wire = await posted(url, "half_head")
    answer = await wire.rest()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\n\r\n" not in answer
    assert (await filed(url))["outcome"] == "half_head"
    await wire.close()


async def test_a_throttle_is_130429_within_the_limit(url: str) -> None:
    wire = await posted(url, "throttle")
    status, _, body = await wire.answer()
    assert (status, json.loads(body)["error"]["code"]) == (400, 130429)
    assert (await filed(url))["outcome"] == "throttle"
    await wire.close()


async def test_a_redirect_points_to_the_same_place(url: str) -> None:
    wire = await posted(url, "redirect")
    status, fields, _ = await wire.answer()
    assert status == 307
    assert fields["location"].endswith("/messages")
    assert (await filed(url))["outcome"] == "redirect"
    await wire.close()


async def test_a_fault_of_refusing_answers_and_then_refuses_connects(simulator: Simulator) -> None:
    simulator.faults = Faults(refuse=1, refuse_for_s=30)
    idle = await Wire.to(simulator.url)
    wire = await Wire.to(simulator.url)
    wire.send(raw(text_to()))
    assert (await wire.answer())[0] == 200
    assert await wire.rest() == b""
    assert await idle.rest() == b""
    assert await is_refused(simulator.url)
    await simulator.listen_again()
    assert not await is_refused(simulator.url)
    await wire.close()
    await idle.close()


async def test_refusing_over_http_ends_by_itself_on_the_same_port(url: str) -> None:
    """That it refuses meanwhile is seen by the requests that came before: their connections are closed."""
    kept = await Wire.to(url)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S) as control:
        assert (await control.post("/_control/refuse", json={"seconds": 0.2})).status_code == 200
    assert await kept.rest() == b""
    await opens(url)
    await kept.close()


async def test_the_door_can_be_shut_and_opened(simulator: Simulator) -> None:
    await simulator.stop_listening()
    assert await is_refused(simulator.url)
    await simulator.stop_listening()
    await simulator.listen_again()
    await simulator.listen_again()
    assert not await is_refused(simulator.url)
    await simulator.refuse(3600)
    assert await is_refused(simulator.url)
    await simulator.refuse(0.01)
    await opens(simulator.url)


async def opens(url: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await is_refused(url):
            await asyncio.sleep(0.005)


async def test_a_reset_of_a_kept_connection_hits_only_that_one(simulator: Simulator) -> None:
    kept, other = await Wire.to(simulator.url), await Wire.to(simulator.url)
    kept.send(raw(text_to(key="a")))
    assert (await kept.answer())[0] == 200
    simulator.rules.add(AnswerRule(fault="reset_after", count=1))
    kept.send(raw(text_to(key="b")))
    with pytest.raises(ConnectionResetError):
        await kept.rest()
    other.send(raw(text_to(key="c")))
    assert (await other.answer())[0] == 200
    await kept.close()
    await other.close()


def test_the_same_seed_draws_the_same_faults() -> None:
    faults = Faults(seed=4, reset_after=0.2, html=0.3)
    first, second = FaultSampler(faults), FaultSampler(faults)
    drawn = [first.draw() for _ in range(2000)]
    assert drawn == [second.draw() for _ in range(2000)]
    names = [fault.name if fault else None for fault in drawn]
    assert 340 < names.count("reset_after") < 460
    assert 530 < names.count("html") < 670


@pytest.mark.parametrize(
    "chances", [{"html": -0.1}, {"html": 1.1}, {"html": 0.6, "throttle": 0.6}, {"html": float("nan")}]
)
def test_chances_that_are_no_probabilities_are_refused(chances: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        Faults(**chances)  # type: ignore[arg-type]  # the names are those of chances
