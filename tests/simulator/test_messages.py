import json
from typing import Any

import httpx
import pytest

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from tests.servers import PATIENCE_S
from tests.simulator.wire import NUMBER, ONE_IN_A_LONG_TIME, PATH, TOKEN, Wire, headers, raw, template_to, text_to

OTHER = "209876543210987"


def error(answer: httpx.Response) -> tuple[int, int, int | None]:
    body: dict[str, Any] = answer.json()["error"]
    assert body["message"].startswith(f"(#{body['code']}) ")
    assert body["error_data"]["messaging_product"] == "whatsapp"
    assert body["fbtrace_id"]
    return answer.status_code, body["code"], body.get("error_subcode")


async def test_a_good_message_is_accepted_as_meta_does(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=text_to())
    body = answer.json()
    wamid = body["messages"][0].pop("id")
    assert answer.status_code == 200
    assert wamid.startswith("wamid.")
    assert body == {
        "messaging_product": "whatsapp",
        "contacts": [{"input": "+15551234567", "wa_id": "15551234567"}],
        "messages": [{}],
    }
    assert answer.headers["x-fb-request-id"]
    assert '"type":"whatsapp"' in answer.headers["x-business-use-case-usage"]


async def test_a_message_to_a_user_id_names_the_user(client: httpx.AsyncClient) -> None:
    body = text_to()
    del body["to"]
    answer = await client.post(PATH, json={**body, "recipient": "US.123"})
    assert answer.json()["contacts"] == [{"input": "US.123", "user_id": "US.123"}]


async def test_a_template_has_the_status_that_is_set() -> None:
    settings = SimulatorSettings(template_status="held_for_quality_assessment")
    async with (
        Simulator(settings).serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=PATIENCE_S) as client,
    ):
        answer = await client.post(PATH, json=template_to(), headers=headers())
        assert answer.json()["messages"][0]["message_status"] == "held_for_quality_assessment"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, (401, 104, None)),
        ("Bearer wrong", (401, 190, None)),
        (f"Basic {TOKEN}", (401, 190, None)),
        (f"bearer {TOKEN}", (401, 190, None)),
    ],
)
async def test_the_token_is_checked(
    simulator: Simulator, authorization: str | None, expected: tuple[int, int, int | None]
) -> None:
    fields = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(base_url=simulator.url, headers=fields, trust_env=False, timeout=PATIENCE_S) as client:
        answer = await client.post(PATH, json=text_to())
    assert error(answer) == expected


async def test_a_number_that_is_not_there_is_no_object(client: httpx.AsyncClient) -> None:
    assert error(await client.post(f"/v25.0/{OTHER}/messages", json=text_to())) == (400, 100, 33)


async def test_a_token_opens_only_its_own_number() -> None:
    numbers = {NUMBER: SimulatedNumber(token="one"), OTHER: SimulatedNumber(token="other")}
    settings = SimulatorSettings(numbers=numbers, token="shared")
    async with (
        Simulator(settings).serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=PATIENCE_S) as client,
    ):
        assert (await client.post(PATH, json=text_to(), headers=headers("one"))).status_code == 200
        assert error(await client.post(PATH, json=text_to(), headers=headers("other"))) == (400, 100, 33)
        assert error(await client.post(PATH, json=text_to(), headers=headers("shared"))) == (400, 100, 33)
        assert error(await client.post(PATH, json=text_to(), headers=headers("none"))) == (401, 190, None)


async def test_a_simulator_without_numbers_takes_every_id_and_token() -> None:
    async with (
        Simulator().serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=PATIENCE_S) as client,
    ):
        for number in (NUMBER, OTHER):
            answer = await client.post(f"/v23.0/{number}/messages", json=text_to(), headers=headers("any"))
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/", 2500),
        ("POST", f"/{NUMBER}/messages", 2500),
        ("POST", f"/v25/{NUMBER}/messages", 2500),
        ("POST", f"{PATH}/", 2500),
        ("POST", f"/v25.0/{NUMBER}/marketing_messages", 2500),
        ("GET", PATH, 100),
        ("DELETE", PATH, 100),
    ],
)
async def test_an_unknown_path_or_method_is_an_error_and_not_in_the_ledger(
    simulator: Simulator, client: httpx.AsyncClient, method: str, path: str, code: int
) -> None:
    assert error(await client.request(method, path))[:2] == (400, code)
    assert len(simulator.ledger) == 0


async def test_a_malformed_body_is_refused_saying_why(simulator: Simulator, client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=text_to(to="15551234567"))
    assert error(answer) == (400, 131009, None)
    assert "to is not valid" in answer.json()["error"]["error_data"]["details"]
    assert simulator.ledger.report()["by_outcome"] == {"malformed": 1}


@pytest.mark.parametrize("limit_status", [400, 429])
async def test_a_request_over_the_window_is_refused(limit_status: int) -> None:
    settings = SimulatorSettings(numbers={NUMBER: SimulatedNumber(rate=ONE_IN_A_LONG_TIME)}, limit_status=limit_status)
    async with (
        Simulator(settings).serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, headers=headers(), trust_env=False, timeout=PATIENCE_S) as client,
    ):
        answers = [await client.post(PATH, json=text_to(key=str(place))) for place in range(5)]
        report: dict[str, Any] = simulator.ledger.report()
    assert [answer.status_code for answer in answers] == [200, *[limit_status] * 4]
    assert error(answers[1]) == (limit_status, 130429, None)
    assert report["over_limit"] == 4
    assert report["numbers"][NUMBER]["largest_window"] == 5
    assert report["numbers"][NUMBER]["smallest_margin_ms"] < 0


async def test_what_a_good_token_sends_counts_even_if_it_is_malformed() -> None:
    settings = SimulatorSettings(numbers={NUMBER: SimulatedNumber(rate=ONE_IN_A_LONG_TIME)}, token=TOKEN)
    async with (
        Simulator(settings).serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False, timeout=PATIENCE_S) as client,
    ):
        for token, body in (("wrong", text_to()), (TOKEN, {}), (TOKEN, text_to())):
            await client.post(PATH, json=body, headers=headers(token))
        outcomes = [request["outcome"] for request in simulator.ledger.requests()]
    assert outcomes == ["unauthorized", "malformed", "over_limit"]


async def test_a_pair_that_sends_too_much_is_refused_while_others_pass() -> None:
    async with Simulator(SimulatorSettings(rate=100_000, has_pair_limit=True)).serving() as simulator:
        wire = await Wire.to(simulator.url)
        # at once, as a place comes free every six seconds
        wire.send(b"".join(raw(text_to(key=str(place))) for place in range(46)))
        wire.send(raw(text_to(to="+15551234568", key="other")))
        answers = [await wire.answer() for _ in range(47)]
        await wire.close()
    assert [status for status, _, _ in answers] == [200] * 45 + [400, 200]
    assert json.loads(answers[45][2])["error"]["code"] == 131056
