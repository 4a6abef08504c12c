"""What status webhooks say, and which there are."""

import contextlib
import json
import time
from typing import Any

import httpx
import pytest

from dispatcher.simulator import AnswerRule, SimulatedNumber
from dispatcher.simulator.faults import FAULTS
from tests.simulator.receiver import WAIT_S
from tests.simulator.stage import Stage, staged
from tests.simulator.test_faults import ACCEPTED
from tests.simulator.wire import NUMBER, filed, template_to, text_to

HELD = "held_for_quality_assessment"


async def sent(stage: Stage, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """The statuses of these messages."""
    for body in bodies:
        await stage.post(body)
    await stage.settle()
    assert all(post.is_signed for post in stage.receiver.posts)
    return stage.receiver.status_objects


async def test_statuses_come_in_metas_envelope_signed() -> None:
    async with staged(batch_most=1) as stage:
        began = int(time.time())
        wamid = (await stage.post(text_to())).json()["messages"][0]["id"]
        await stage.settle()
        post = stage.receiver.posts[0]
        document = json.loads(post.body)
        (status,) = document["entry"][0]["changes"][0]["value"]["statuses"]
        assert began <= int(status.pop("timestamp")) <= time.time()
        assert document == {
            "object": "whatsapp_business_account",
            "entry": [
                {
                    "id": "102290129340398",
                    "changes": [
                        {
                            "value": {
                                "messaging_product": "whatsapp",
                                "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER},
                                "statuses": [status],
                            },
                            "field": "messages",
                        }
                    ],
                }
            ],
        }
        assert status == {
            "id": wamid,
            "status": "sent",
            "recipient_id": "15551234567",
            "biz_opaque_callback_data": "d1:1:order-1",
            "pricing": {
                "billable": False,
                "pricing_model": "PMP",
                "category": "service",
                "type": "free_customer_service",
            },
        }
        assert post.fields["content-type"] == "application/json"
        assert all(post.is_signed for post in stage.receiver.posts)
        assert stage.receiver.kinds == ["sent", "delivered", "read"]


async def test_a_number_has_its_own_account() -> None:
    async with staged(number=SimulatedNumber(rate=10, waba_id="77", display_phone_number="15550001111")) as stage:
        await sent(stage, text_to())
        entry = json.loads(stage.receiver.posts[0].body)["entry"][0]
        assert entry["id"] == "77"
        assert entry["changes"][0]["value"]["metadata"]["display_phone_number"] == "15550001111"


async def test_without_a_secret_nothing_is_signed() -> None:
    async with staged(secret=None) as stage:
        await stage.post(text_to())
        await stage.settle()
        assert "x-hub-signature-256" not in stage.receiver.posts[0].fields


async def test_what_is_not_ascii_is_escaped_and_the_raw_bytes_are_signed() -> None:
    async with staged() as stage:
        statuses = await sent(stage, text_to(biz_opaque_callback_data="å/😀"))
        assert rb'"\u00e5\/\ud83d\ude00"' in stage.receiver.posts[0].body
        assert statuses[0]["biz_opaque_callback_data"] == "å/😀"


async def test_a_price_is_on_sent_and_on_one_of_delivered_and_read() -> None:
    async with staged() as stage:
        statuses = await sent(stage, *(template_to(key=str(place)) for place in range(20)))
        by_message: dict[str, list[str]] = {}
        for status in statuses:
            if "pricing" in status:
                assert status["pricing"] == {
                    "billable": True,
                    "pricing_model": "PMP",
                    "category": "utility",
                    "type": "regular",
                }
                by_message.setdefault(status["id"], []).append(status["status"])
        assert len(by_message) == 20
        assert {tuple(kinds) for kinds in by_message.values()} == {("sent", "delivered"), ("sent", "read")}


async def test_a_conversation_is_there_when_wanted() -> None:
    async with staged(has_conversation=True, read=0) as stage:
        sent_one, delivered = await sent(stage, template_to())
        expires = int(sent_one["conversation"].pop("expiration_timestamp"))
        assert expires == int(sent_one["timestamp"]) + 86_400
        assert sent_one["conversation"] == delivered["conversation"]
        assert delivered["conversation"]["origin"] == {"type": "utility"}


async def test_a_recipient_may_be_left_out_or_be_a_user_id() -> None:
    async with staged(has_recipient_id=False, read=0) as stage:
        body = text_to()
        del body["to"]
        statuses = await sent(stage, text_to(), {**body, "recipient": "US.123"})
        assert all("recipient_id" not in status for status in statuses)
        assert [status.get("recipient_user_id") for status in statuses] == [None, None, "US.123", "US.123"]


async def test_an_asynchronous_failure_carries_its_error() -> None:
    async with staged(failed=1, failed_code=131049) as stage:
        (status,) = await sent(stage, text_to())
        title = "This message was not delivered to maintain healthy ecosystem engagement"
        href = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"
        assert status["status"] == "failed"
        assert "pricing" not in status
        assert status["errors"] == [
            {"code": 131049, "title": title, "message": title, "error_data": {"details": title}, "href": href}
        ]
        await stage.control("webhooks", {"is_sent_before_failed": True})
        assert [status["status"] for status in await sent(stage, text_to(key="b"))] == ["failed", "sent", "failed"]


async def test_a_reaction_is_only_sent() -> None:
    async with staged() as stage:
        body = text_to()
        del body["text"]
        reaction = {"message_id": "wamid.x", "emoji": "😀"}
        statuses = await sent(stage, {**body, "type": "reaction", "reaction": reaction})
        assert [status["status"] for status in statuses] == ["sent"]


@pytest.mark.parametrize("fault", sorted(ACCEPTED))
async def test_a_message_whose_answer_is_lost_after_acceptance_has_its_statuses(fault: str) -> None:
    async with staged() as stage:
        stage.simulator.rules.add(AnswerRule(fault=fault, count=1))
        stage.client.timeout = 0.2
        with contextlib.suppress(httpx.HTTPError):
            await stage.post(text_to())
        await filed(stage.simulator, 1)
        stage.client.timeout = WAIT_S
        await stage.settle()
        assert stage.receiver.kinds == ["sent", "delivered", "read"]
        assert {s["id"] for s in stage.receiver.status_objects} == set(
            stage.simulator.ledger.accepted_wamids("order-1")
        )


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - ACCEPTED))
async def test_a_message_that_a_fault_kept_out_has_none(fault: str) -> None:
    async with staged() as stage:
        stage.simulator.rules.add(AnswerRule(fault=fault))
        stage.client.timeout = 0.2
        with contextlib.suppress(httpx.HTTPError):
            await stage.post(text_to())
        await filed(stage.simulator, 1)
        stage.client.timeout = WAIT_S
        assert stage.simulator.ledger.report()["requests"] == 1
        assert await sent(stage) == []
        assert (await stage.page())["made"] == 0


async def test_a_message_that_was_refused_has_none() -> None:
    async with staged() as stage:
        stage.simulator.rules.add(AnswerRule(code=131026, count=1))
        assert await sent(stage, text_to(), {"type": "text"}) == []


async def test_a_rule_that_accepts_behind_an_error_has_statuses() -> None:
    async with staged(read=0) as stage:
        stage.simulator.rules.add(AnswerRule(code=131000, is_accepted=True))
        assert len(await sent(stage, text_to())) == 2


@pytest.mark.parametrize("kind", ["sent", "delivered", "read"])
async def test_a_lost_status_never_comes(kind: str) -> None:
    shares: dict[str, Any] = {f"lost_{kind}": 1}
    async with staged(**shares) as stage:
        statuses = await sent(stage, text_to(), text_to(key="b"))
        assert kind not in {status["status"] for status in statuses}
        assert len(statuses) == 4
        assert (await stage.page())["lost"] == {kind: 2}


async def test_a_failure_may_be_lost() -> None:
    async with staged(failed=1, lost_failed=1) as stage:
        assert await sent(stage, text_to()) == []
        assert (await stage.page())["lost"] == {"failed": 1}


async def test_all_statuses_of_a_share_of_messages_are_lost() -> None:
    async with staged(lost_messages=0.5, failed=0.2, read=0.5, seed=3) as stage:
        statuses = await sent(stage, *(text_to(key=str(place)) for place in range(200)))
        page = await stage.page()
        assert len({status["id"] for status in statuses}) == 200 - page["lost_messages"]
        assert 70 < page["lost_messages"] < 130
        assert page["statuses"] == {kind: stage.receiver.kinds.count(kind) for kind in page["statuses"]}
        assert set(page["lost"]) == {"sent", "delivered", "read", "failed"}


async def test_statuses_come_in_time_and_order() -> None:
    async with staged(sent_ms=20, delivered_ms=60, read_ms=120, jitter_ms=10, batch_most=1) as stage:
        began_s = time.monotonic()
        await sent(stage, text_to())
        took_ms = [(post.at_s - began_s) * 1000 for post in stage.receiver.posts]
        assert stage.receiver.kinds == ["sent", "delivered", "read"]
        assert [took_ms[0] >= 20, took_ms[1] >= 60, took_ms[2] >= 120] == [True, True, True]


async def test_shuffled_statuses_come_in_every_order() -> None:
    async with staged(is_shuffled=True, batch_most=1000, read_ms=20, delivered_ms=10) as stage:
        statuses = await sent(stage, *(text_to(key=str(place)) for place in range(60)))
        orders: dict[str, list[str]] = {}
        for status in statuses:
            orders.setdefault(status["id"], []).append(status["status"])
        assert len({tuple(order) for order in orders.values()}) == 6


async def test_held_templates_have_no_status_until_released() -> None:
    async with staged(held=frozenset({"shipped"}), read=0) as stage:
        answers = [await stage.post(template_to(name=name, key=name)) for name in ("shipped", "other")]
        assert [answer.json()["messages"][0]["message_status"] for answer in answers] == [HELD, "accepted"]
        stage.simulator.rules.add(AnswerRule(fault="empty_200", count=1))
        await stage.post(template_to(name="shipped", key="lost"))
        await stage.settle()
        other = answers[1].json()["messages"][0]["id"]
        assert [status["id"] for status in stage.receiver.status_objects] == [other, other]
        assert (await stage.page())["held"] == 2
        assert await stage.control("templates/release", {"template": "shipped"}) == {"messages": 2}
        await stage.settle()
        assert len(stage.receiver.status_objects) == 6
        assert (await stage.post(template_to(name="shipped"))).json()["messages"][0]["message_status"] == "accepted"
        assert (await stage.page())["held"] == 0


async def test_held_messages_that_are_dropped_fail() -> None:
    async with staged() as stage:
        await stage.control("templates/hold", {"template": "shipped"})
        await stage.post(template_to())
        assert await stage.control("templates/drop", {"template": "shipped"}) == {"messages": 1}
        await stage.settle()
        (status,) = stage.receiver.status_objects
        assert (status["status"], status["errors"][0]["code"]) == ("failed", 132015)


async def test_a_rule_of_holding_holds() -> None:
    async with staged() as stage:
        stage.simulator.rules.add(AnswerRule(message_status=HELD))
        assert await sent(stage, template_to()) == []
        assert stage.simulator.webhooks.release("shipped") == 1
        await stage.settle()
        assert len(stage.receiver.status_objects) == 3


async def test_without_a_url_there_are_no_webhooks() -> None:
    async with staged(url=None) as stage:
        assert await sent(stage, text_to()) == []
        await stage.control("webhooks", {"url": stage.receiver.url})
        assert len(await sent(stage, text_to())) == 3
        await stage.control("webhooks", {"url": None})
        assert len(await sent(stage, text_to())) == 3


async def test_no_more_updates_wait_than_may() -> None:
    async with staged(most_waiting=5, sent_ms=60_000) as stage:
        for place in range(4):
            await stage.post(text_to(key=str(place)))
        page = await stage.page()
        assert (page["waiting"], page["dropped"]) == (3, 9)
