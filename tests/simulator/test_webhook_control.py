"""Webhooks by order: verification, inbound messages, settings."""

import base64
import json
import time
from pathlib import Path

import pytest

from dispatcher.simulator import Simulator
from dispatcher.simulator.control import ControlApi
from dispatcher.simulator.settings import WEBHOOK_FIELDS
from tests.simulator.receiver import SECRET, receiving
from tests.simulator.stage import staged
from tests.simulator.wire import NUMBER, ONE_IN_A_LONG_TIME, text_to


async def test_the_url_is_verified_at_the_start_and_on_demand() -> None:
    async with staged(verify_token="let me in & out") as stage:
        page = await stage.until(lambda page: page["verification"] is not None)
        assert page["verification"] == {"is_verified": True, "status": 200, "problem": None}
        query = stage.receiver.arrivals[0].query
        assert query.pop("hub.challenge")[0].isdigit()
        assert query == {"hub.mode": ["subscribe"], "hub.verify_token": ["let me in & out"]}
        stage.receiver.challenge = lambda challenge: f'"{challenge}"'
        found = await stage.control("webhooks/verify")
        assert found == {"is_verified": False, "status": 200, "problem": "the body is not the challenge"}
        stage.receiver.statuses = [403]
        found = await stage.control("webhooks/verify", {"verify_token": "wrong"})
        assert found == {"is_verified": False, "status": 403, "problem": "the status is not 200"}
        assert stage.receiver.arrivals[-1].query["hub.verify_token"] == ["wrong"]


async def test_a_url_without_a_listener_is_not_verified() -> None:
    async with receiving() as gone:
        pass
    async with staged(url=gone.url) as stage:
        found = await stage.control("webhooks/verify", {"verify_token": "t"})
        assert (found["is_verified"], found["status"]) == (False, None)
        assert found["problem"]
        assert (await stage.client.post("/_control/webhooks/verify", json={})).status_code == 400


async def test_an_inbound_text_comes_and_uses_up_throughput() -> None:
    async with staged() as stage:
        await stage.control("numbers", {"id": NUMBER, "rate": ONE_IN_A_LONG_TIME})
        order = {"number": NUMBER, "from": "+16505551234", "text": "STOP"}
        began = int(time.time())
        assert [await stage.control("inbound", order) for _ in range(2)] == [{"inbound": 1}, {"inbound": 2}]
        assert (await stage.post(text_to())).status_code == 400
        await stage.settle()
        change = stage.receiver.changes[0]
        (message,) = change["value"]["messages"]
        content = base64.b64decode(message.pop("id").removeprefix("wamid."), validate=True)
        assert content.startswith(b"\x1c\x18\x0b16505551234\x15\x02\x00\x12\x18\x143A")
        assert began <= int(message.pop("timestamp")) <= time.time()
        assert message == {"from": "16505551234", "type": "text", "text": {"body": "STOP"}}
        assert change["value"]["metadata"]["phone_number_id"] == NUMBER
        assert change["value"]["contacts"][0]["wa_id"] == "16505551234"
        assert all(post.is_signed for post in stage.receiver.posts)


async def test_inbound_messages_come_even_above_the_rate() -> None:
    async with staged() as stage:
        await stage.control("numbers", {"id": NUMBER, "rate": ONE_IN_A_LONG_TIME})
        for _ in range(3):
            stage.simulator.webhooks.receive_text(NUMBER, "16505551234", "Hello")
        await stage.settle()
        assert len(stage.receiver.changes) == 3
        assert (await stage.post(text_to())).status_code == 400


async def test_a_preference_comes_and_uses_no_throughput() -> None:
    async with staged() as stage:
        await stage.control("numbers", {"id": NUMBER, "rate": ONE_IN_A_LONG_TIME})
        await stage.control("inbound", {"number": NUMBER, "from": "16505551234", "preference": "stop"})
        assert (await stage.post(text_to())).status_code == 200
        await stage.settle()
        change = stage.receiver.changes[0]
        assert change["field"] == "user_preferences"
        (wish,) = change["value"]["user_preferences"]
        assert isinstance(wish.pop("timestamp"), int)
        assert wish == {
            "wa_id": "16505551234",
            "detail": "User requested to stop marketing messages",
            "category": "marketing_messages",
            "value": "stop",
        }


async def test_any_change_comes_as_it_is() -> None:
    async with staged(batch_ms=20) as stage:
        change = {"field": "message_template_status_update", "value": {"event": "PAUSED", "reason": "é"}}
        await stage.control("inbound", {"change": change, "waba_id": "42"})
        await stage.post(text_to())
        await stage.settle()
        entries = json.loads(stage.receiver.posts[0].body)["entry"]
        assert {"id": "42", "changes": [change]} in entries


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("webhooks", {"lost_sent": 2}),
        ("webhooks", {"colour": "red"}),
        ("webhooks", {"url": 1}),
        ("webhooks/settle", {"timeout_s": "long"}),
        ("templates/hold", {}),
        ("templates/drop", {"template": "x", "code": "1"}),
        ("inbound", {}),
        ("inbound", {"number": NUMBER, "from": "1", "preference": "perhaps"}),
        ("inbound", {"change": {"field": "messages"}}),
        ("inbound", [1]),
    ],
)
async def test_a_wrong_order_changes_nothing(path: str, order: object) -> None:
    async with staged() as stage:
        before = stage.simulator.webhooks.settings
        answer = await stage.client.post(f"/_control/{path}", json=order)
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert stage.simulator.webhooks.settings == before
        assert (await stage.page())["waiting"] == 0


async def test_settings_are_shown_without_their_secrets() -> None:
    async with staged() as stage:
        shown = (await stage.client.get("/_control/webhooks")).json()
        assert set(shown) == set(WEBHOOK_FIELDS)
        assert (shown["secret"], shown["verify_token"], shown["batch_most"]) == ("***", None, 100)
        assert SECRET not in json.dumps(shown)
        assert (await stage.control("webhooks", {"read": 0, "seed": 5}))["read"] == 0


def test_the_papers_name_every_setting_and_control() -> None:
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    paths = [path.decode() for _, path in ControlApi(Simulator()).routes]
    assert [name for name in (*WEBHOOK_FIELDS, *paths) if f"`{name}`" not in page] == []
