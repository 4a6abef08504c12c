import httpx
import pytest

from dispatcher.simulator import Faults, Simulator
from tests.simulator.wire import NUMBER, ONE_IN_A_LONG_TIME, PATH, headers, text_to

OTHER = "209876543210987"


async def test_rules_are_ordered_and_lifted(simulator: Simulator, client: httpx.AsyncClient) -> None:
    one = {"code": 131026, "number": NUMBER, "count": 1}
    assert (await client.post("/_control/rules", json=one)).json() == {"rules": 1}
    assert (await client.post("/_control/rules", json=[one, {"code": 131047, "for_s": 5}])).json() == {"rules": 3}
    assert (await client.post(PATH, json=text_to())).json()["error"]["code"] == 131026
    assert (await client.delete("/_control/rules")).json() == {"rules": 0}
    assert (await client.post(PATH, json=text_to())).status_code == 200
    assert len(simulator.ledger) == 2


async def test_faults_are_ordered_and_lifted(simulator: Simulator, client: httpx.AsyncClient) -> None:
    assert (await client.post("/_control/faults", json={"seed": 3, "html": 1})).json() == {"faults": {"html": 1.0}}
    assert simulator.faults == Faults(seed=3, html=1)
    assert (await client.post(PATH, json=text_to())).status_code == 502
    assert (await client.delete("/_control/faults")).json() == {"faults": {}}
    assert (await client.post(PATH, json=text_to())).status_code == 200


async def test_numbers_are_added_and_changed(client: httpx.AsyncClient) -> None:
    path = f"/v25.0/{OTHER}/messages"
    for rate, statuses in ((ONE_IN_A_LONG_TIME, [200, 400]), (100_000, [200, 200, 200])):
        order = {"id": OTHER, "token": "its own", "rate": rate, "latency_ms": 1}
        assert (await client.post("/_control/numbers", json=order)).json() == {"number": OTHER}
        found = [(await client.post(path, json=text_to(), headers=headers("its own"))).status_code for _ in statuses]
        assert found == statuses
    assert (await client.post(path, json=text_to())).status_code == 400


async def test_latency_is_changed(client: httpx.AsyncClient) -> None:
    assert (await client.post("/_control/latency", json={"latency_ms": 300})).status_code == 200
    assert (await client.post(PATH, json=text_to())).elapsed.total_seconds() >= 0.28
    for order in ({"latency_ms": 3_600_000}, {}):
        assert (await client.post("/_control/latency", json=order)).status_code == 200
    assert (await client.post(PATH, json=text_to())).status_code == 200


async def test_the_ledger_is_read_and_reset(simulator: Simulator, client: httpx.AsyncClient) -> None:
    await client.post(PATH, json=text_to())
    assert (await client.get("/_ledger")).json() == simulator.ledger.report()
    assert (await client.delete("/_ledger")).json() == {"requests": 0}
    assert (await client.get("/_ledger/requests")).json() == []
    assert (await client.get("/_ledger")).json()["requests"] == 0


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("rules", b"{"),
        ("rules", b"1"),
        ("rules", b"{}"),
        ("rules", b'{"code": "131026"}'),
        ("rules", b'{"code": 131026, "colour": "red"}'),
        ("faults", b'{"html": 2}'),
        ("faults", b'{"html": "often"}'),
        ("faults", b'{"seed": 0.5}'),
        ("numbers", b'{"rate": 80}'),
        ("numbers", b'{"id": "1", "rate": 0}'),
        ("numbers", b'{"id": 1}'),
        ("latency", b'{"latency_ms": -1}'),
        ("refuse", b"{}"),
    ],
)
async def test_a_wrong_order_is_refused_and_changes_nothing(
    simulator: Simulator, client: httpx.AsyncClient, path: str, order: bytes
) -> None:
    answer = await client.post(f"/_control/{path}", content=order)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert len(simulator.rules) == 0
    assert simulator.faults == Faults()


async def test_an_unknown_control_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/_control/everything")).status_code == 404
