import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.meta.webhook import Inbound, Notice, Preference, Receipt, Unreadable, read
from tests.meta.bodies import NUMBER, WABA, body, entry, status, value, webhook

UPDATES = (Receipt, Inbound, Preference, Notice, Unreadable)
RECEIPT = Receipt("wamid.1", "sent", 1750091045, NUMBER, WABA, "+16505551234")

# Whatever JSON can say, with the names of Meta's fields among it.
NAMES = st.sampled_from(
    [
        "object",
        "entry",
        "changes",
        "field",
        "value",
        "statuses",
        "messages",
        "errors",
        "user_preferences",
        "metadata",
        "phone_number_id",
        "id",
        "time",
        "status",
        "timestamp",
        "recipient_id",
        "recipient_user_id",
        "biz_opaque_callback_data",
        "pricing",
        "code",
        "title",
        "message",
        "from",
        "from_user_id",
        "type",
        "text",
        "body",
        "button",
        "interactive",
        "button_reply",
        "list_reply",
        "wa_id",
        "category",
        "detail",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES | st.just("whatsapp_business_account")
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner), max_leaves=30)
ROWS = st.lists(st.dictionaries(NAMES, JSON) | JSON, max_size=4)
VALUES = st.fixed_dictionaries(
    {}, optional={"statuses": ROWS | JSON, "messages": ROWS, "user_preferences": ROWS, "errors": JSON, "metadata": JSON}
)
CHANGES = st.fixed_dictionaries({"field": st.just("messages") | JSON, "value": VALUES | JSON}) | JSON
ENTRIES = st.fixed_dictionaries({"id": JSON, "time": JSON, "changes": st.lists(CHANGES, max_size=4) | JSON}) | JSON


def only(raw: bytes) -> Any:
    (update,) = read(raw)
    return update


def test_a_status_is_a_receipt() -> None:
    pricing = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"}
    given = status(biz_opaque_callback_data="d1:2:order-1:paid", pricing=pricing, conversation={"id": "1"})
    receipt = only(body(statuses=[given]))
    assert receipt == Receipt(
        wamid="wamid.1",
        status="sent",
        at_s=1750091045,
        number=NUMBER,
        waba=WABA,
        recipient="+16505551234",
        callback="d1:2:order-1:paid",
        pricing='{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}',
    )
    assert (receipt.key, receipt.claim) == ("order-1:paid", 2)


@pytest.mark.parametrize(
    ("given", "recipient"),
    [
        ({}, "+16505551234"),
        ({"recipient_id": 16505551234}, "+16505551234"),
        ({"recipient_id": "+16505551234"}, "+16505551234"),
        ({"recipient_id": None, "recipient_user_id": "US.1349"}, "US.1349"),
        ({"recipient_user_id": "US.1349"}, "+16505551234"),
        ({"recipient_id": "Y2FwaV9ncm91cDox", "recipient_user_id": "GB.ENT.77"}, "GB.ENT.77"),
        ({"recipient_id": "٣٣٣٣"}, ""),
        ({"recipient_id": "1" * 30}, ""),
        ({"recipient_id": None, "recipient_user_id": "somebody"}, ""),
        ({"recipient_id": {"a": 1}, "recipient_user_id": ["US.1"]}, ""),
    ],
)
def test_a_recipient_is_a_phone_or_a_user_id_or_nobody(given: dict[str, Any], recipient: str) -> None:
    assert only(body(statuses=[status(**given)])).recipient == recipient


@pytest.mark.parametrize(
    ("given", "code", "error"),
    [
        ([{"code": 131026, "title": "Message undeliverable"}], 131026, "131026 Message undeliverable"),
        ([{"code": "131026", "message": "Message undeliverable"}], 131026, "131026 Message undeliverable"),
        ([{"code": 131047, "title": "a"}, {"code": 131053, "title": "b"}, {"code": 1}], 131047, "131047 a +131053 +1"),
        (
            [{"code": 131047, "title": "a" * 18 + " " + "b" * 18}, {"code": 131053}],
            131047,
            f"131047 {'a' * 18} {'b' * 18}",
        ),
        ([{"code": 100, "title": "to +1 (650) 555-1234 and EAAGtoken123"}], 100, "100 to … and …"),
        ([{"code": 100, "title": "x" * 5_000_000}], 100, "100 " + "x" * 40),
        ([{"code": 131026}], 131026, "131026"),
        ([{"title": "broken"}, {"code": 5}], None, "unknown broken +5"),
        (["broken", {"code": 5}], 5, "5"),
        ([{"code": True}, {"code": 10**9}, {"code": -1}], None, "unknown"),
        ([], None, ""),
        ({"code": 5}, None, ""),
        (None, None, ""),
    ],
)
def test_the_first_error_decides(given: Any, code: int | None, error: str) -> None:
    receipt = only(body(statuses=[status(status="failed", errors=given)]))
    assert (receipt.code, receipt.error) == (code, error)


@pytest.mark.parametrize(
    ("given", "at_s"),
    [("1750091045", 1750091045), (1750091045, 1750091045), ("1750091045123", 1750091045), (1750091045123, 1750091045)]
    + [(wrong, 1750000000) for wrong in (None, "", "soon", "-5", 0, -1, 1.5, True, "9" * 19, 10**30, "1e9")],
)
def test_a_time_is_in_seconds_and_else_that_of_the_entry(given: Any, at_s: int) -> None:
    change = {"field": "messages", "value": value(statuses=[status(timestamp=given)])}
    assert only(webhook(entry(change, time=1750000000))).at_s == at_s


@pytest.mark.parametrize(
    "broken",
    [
        None, 5, "sent", [], {}, {"status": "sent"}, {"id": "wamid.1"}, status(id=7), status(id=""), status(status=""),
        status(status=None), status(id="w" * 513), status(status="s" * 65),
    ],
)  # fmt: skip
def test_an_unreadable_status_loses_no_other(broken: Any) -> None:
    found = read(body(statuses=[status("wamid.1"), broken, status("wamid.3")]))
    assert [getattr(update, "wamid", None) for update in found] == ["wamid.1", None, "wamid.3"]
    unreadable = found[1]
    assert isinstance(unreadable, Unreadable)
    assert unreadable.is_receipt
    assert unreadable.reason.startswith("statuses: ")
    assert json.loads(unreadable.raw) == broken


@pytest.mark.parametrize(
    "odd",
    [
        r'"\ud83d"', r'"\ude00\ud83d"', r'"\\\ud83d"', "1" * 5000, "NaN", "-Infinity", "1e999", "[" * 300 + "]" * 300,
        '{"a":1,"a":2}', r'"\u0000"',
    ],
)  # fmt: skip
def test_an_odd_value_loses_no_other_update(odd: str) -> None:
    strange = json.dumps({"id": "wamid.2", "type": "odd", "odd": "here"}).replace('"here"', odd).encode()
    found = read(body(statuses=[status()], messages=["?"], errors=[]).replace(b'"?"', strange))
    assert found[0] == RECEIPT
    assert isinstance(found[1], Inbound | Unreadable)
    found[1].raw.encode()
    assert found[2:] == [Notice("messages.errors", WABA, 0, found[2].raw)]  # type: ignore[union-attr]


def test_half_an_emoji_is_replaced_and_a_whole_one_is_not() -> None:
    text = rb'{"id":"wamid.2","type":"text","from":"1650","text":{"body":"a\ud83d b\ud83d\ude00 c\\ud83d \"d"}}'
    assert only(body(messages=["?"]).replace(b'"?"', text)).text == 'a\ufffd b\U0001f600 c\\ud83d "d'


def test_bytes_that_are_no_text_are_replaced() -> None:
    text = b'{"id":"wamid.2","type":"text","from":"1650","text":{"body":"caf\xe9"}}'
    assert only(body(messages=["?"]).replace(b'"?"', text)).text == "caf\ufffd"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b"5", b'"x"', b"\xff\xfe", b"{}", b'{"object":"page","entry":[]}', b"<html>",
     b'{"object":"whatsapp_business_account"}', b'{"object":"whatsapp_business_account","entry":{}}',
     b"[" * 100_000, b'{"a":' * 100_000, b"1" * 100_000, b"\\" * 1000],
)  # fmt: skip
def test_what_is_no_webhook_is_one_unreadable(raw: bytes) -> None:
    unreadable = only(raw)
    assert isinstance(unreadable, Unreadable)
    assert unreadable.is_receipt
    assert unreadable.raw == raw.decode(errors="replace")


def test_what_stands_around_updates_may_be_broken_too() -> None:
    good = {"field": "messages", "value": value(statuses=[status()])}
    found = read(
        webhook(None, {"id": WABA}, entry(5, {"field": "messages"}, {"value": {}}, good), {"id": WABA, "changes": {}})
    )
    assert [update.reason if isinstance(update, Unreadable) else update for update in found] == [
        "an entry without changes",
        "an entry without changes",
        "a change without a field",
        "messages without an object",
        "a change without a field",
        RECEIPT,
        "an entry without changes",
    ]
    assert all(update.is_receipt for update in found if isinstance(update, Unreadable))


def test_lists_that_are_none() -> None:
    found = read(body(statuses={}, messages=5, user_preferences="x"))
    assert found == [
        Unreadable("statuses is no list", "{}", is_receipt=True),
        Unreadable("messages is no list", "5", is_receipt=False),
        Unreadable("user_preferences is no list", '"x"', is_receipt=False),
    ]


def test_several_accounts_and_kinds_come_in_one_body() -> None:
    change = {
        "field": "messages",
        "value": value(statuses=[status()], messages=[{"id": "wamid.2", "from_user_id": "US.7"}]),
    }
    quality = {"field": "phone_number_quality_update", "value": {"event": "THROUGHPUT_UPGRADE"}}
    found = read(webhook(entry(change, time=5), {"id": 77, "time": 6, "changes": [quality]}))
    assert found == [
        RECEIPT,
        Inbound("wamid.2", "US.7", NUMBER, WABA, 5, "unknown", "", '{"id":"wamid.2","from_user_id":"US.7"}'),
        Notice("phone_number_quality_update", "77", 6, '{"event":"THROUGHPUT_UPGRADE"}'),
    ]


def test_preferences_say_who_wants_what() -> None:
    wish = {
        "wa_id": "16505551234", "detail": "User requested to stop marketing messages", "category": "marketing_messages",
        "value": "stop", "timestamp": 1750091045,
    }  # fmt: skip
    again = {"user_id": "US.7", "category": "offers", "value": "resume"}
    wrong = [wish | {"value": "pause"}, wish | {"wa_id": None}, wish | {"category": None}, 5]
    found = read(body("user_preferences", user_preferences=[wish, *wrong, again]))
    reason = "User requested to stop marketing message"
    assert found[0] == Preference("+16505551234", NUMBER, WABA, "marketing", True, 1750091045, reason)
    assert found[1:5] == [
        Unreadable(f"user_preferences: {why}", json.dumps(row, separators=(",", ":")), is_receipt=False)
        for row, why in zip(
            wrong,
            ["value is neither stop nor resume", "nobody's", "category is missing or no short text", "no object"],
            strict=True,
        )
    ]
    assert found[5] == Preference("US.7", NUMBER, WABA, "offers", False, 0, "")


def test_trouble_of_the_account_is_news() -> None:
    notice = only(body(errors=[{"code": 130429, "title": "Rate limit hit"}]))
    assert (notice.field, notice.waba) == ("messages.errors", WABA)
    assert json.loads(notice.raw) == {
        "metadata": value()["metadata"], "errors": [{"code": 130429, "title": "Rate limit hit"}],
    }  # fmt: skip


def test_what_nobody_knows_is_news() -> None:
    template = {"event": "PAUSED", "message_template_id": 594425479261596, "message_template_name": "shipped"}
    found = read(
        webhook(entry({"field": "message_template_status_update", "value": template}, {"field": "new", "value": 5}))
    )
    assert found == [
        Notice("message_template_status_update", WABA, 0, json.dumps(template, separators=(",", ":"))),
        Notice("new", WABA, 0, "5"),
    ]
    assert only(body(new=[1])) == Notice("messages", WABA, 0, json.dumps(value(new=[1]), separators=(",", ":")))


@given(st.lists(ENTRIES, max_size=4))
def test_any_json_is_read(entries: list[Any]) -> None:
    for update in read(webhook(*entries)):
        assert isinstance(update, UPDATES)
        repr(update).encode()


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read(raw: bytes) -> None:
    assert all(isinstance(update, UPDATES) for update in read(raw))


@given(st.data())
def test_a_body_with_a_hole_is_read(data: st.DataObject) -> None:
    whole = body(statuses=[status(errors=[{"code": 1}])], messages=[{"id": "1"}])
    at = data.draw(st.integers(0, len(whole)))
    assert read(whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 5)) :])
