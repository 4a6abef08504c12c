import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy import codes
from dispatcher.policy.codes import Rule
from dispatcher.policy.outcome import (
    Accepted,
    Answer,
    Close,
    Doubt,
    Lost,
    Open,
    Outcome,
    Reject,
    Reply,
    RetryLater,
    Snooze,
    Uncertain,
    Unsent,
    Verdict,
    Why,
)
from dispatcher.policy.verdict import LABELS, judge, label

STREAK = 2  # so that the first closing of 0.25 s has doubled to 1 s, and 5 s to 20 s
ATTEMPTS = 1  # so that the first wait of 30 s has doubled
RETRY_S = 30.0
THROTTLED = Close(Why.THROTTLED, 0.5)
CREDENTIAL = Close(Why.CREDENTIAL, 10.0)
UNREACHABLE = Close(Why.UNREACHABLE, 0.5)
DOUBT = Doubt(0.5)


def verdict(reply: Reply) -> Verdict:
    return judge(reply, streak=STREAK, attempts=ATTEMPTS, is_urgent=False, rand=0.5)


def error(code: object, message: object = "", **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": message, **more}}


def sent(status: object = None, wamid: object = "wamid.1") -> dict[str, object]:
    message = {"id": wamid} if status is None else {"id": wamid, "message_status": status}
    return {"messaging_product": "whatsapp", "messages": [message]}


# --- accepted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, "accepted"])
def test_an_id_is_acceptance(status: str | None) -> None:
    assert verdict(Answer(200, sent(status))) == Verdict(Accepted("wamid.1"), Open(), "ok")


def test_held_for_quality_assessment_is_accepted_and_says_so() -> None:
    reply = Answer(200, sent("held_for_quality_assessment"))
    assert verdict(reply) == Verdict(Accepted("wamid.1", held=True), Open(), "held")


def test_status_null_is_no_status() -> None:
    reply = Answer(200, {"messages": [{"id": "wamid.1", "message_status": None}]})
    assert verdict(reply) == Verdict(Accepted("wamid.1"), Open(), "ok")


def test_an_id_beside_an_error_is_acceptance_as_it_must_not_be_posted_again() -> None:
    assert verdict(Answer(200, sent() | error(130429))) == Verdict(Accepted("wamid.1"), Open(), "ok")


def test_paused_is_refused_with_its_reason() -> None:
    expected = Verdict(Reject("paused template paused, will not be delivered"), Open(), "paused")
    assert verdict(Answer(200, sent("paused"))) == expected


@pytest.mark.parametrize(
    ("status", "text"), [("queued", "unknown_status queued"), (7, "unknown_status"), ([], "unknown_status")]
)
def test_id_with_a_status_nobody_knows_is_uncertain(status: object, text: str) -> None:
    assert verdict(Answer(200, sent(status))) == Verdict(Uncertain(text), DOUBT, "unknown_status")


# --- the code decides --------------------------------------------------------------------------------------------------

ANY_STATUS = [200, 307, 400, 403, 429, 503]


@pytest.mark.parametrize("status", ANY_STATUS)
def test_pair_limit_snoozes_the_message_and_leaves_the_gate(status: int) -> None:
    expected = Verdict(Snooze("131056 Pair rate limit hit", 6.0), None, "131056")
    assert verdict(Answer(status, error(131056, "(#131056) Pair rate limit hit"))) == expected


@pytest.mark.parametrize("status", ANY_STATUS)
@pytest.mark.parametrize("code", [4, 17, 32, 341, 613, 80007, 130429, 131057])
def test_limits_snooze_the_message_and_close_the_gate(status: int, code: int) -> None:
    assert verdict(Answer(status, error(code))) == Verdict(Snooze(str(code)), THROTTLED, str(code))


@pytest.mark.parametrize("status", ANY_STATUS)
@pytest.mark.parametrize("code", [0, 3, 10, 102, 104, 190, 200, 230, 299, 368, 131031])
def test_trouble_with_the_credential_leaves_the_message_and_closes_the_gate(status: int, code: int) -> None:
    assert verdict(Answer(status, error(code))) == Verdict(Snooze(str(code)), CREDENTIAL, str(code))


@pytest.mark.parametrize("status", ANY_STATUS)
@pytest.mark.parametrize("code", [1, 2, 131000, 131016])
def test_codes_that_leave_it_open_are_uncertain_whatever_the_status(status: int, code: int) -> None:
    assert verdict(Answer(status, error(code))) == Verdict(Uncertain(str(code)), DOUBT, str(code))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429])
@pytest.mark.parametrize("code", [100, 130497, 131026, 132001])
def test_known_refusals_are_about_the_message_and_leave_the_gate_open(status: int, code: int) -> None:
    assert verdict(Answer(status, error(code))) == Verdict(Reject(str(code)), Open(), str(code))


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("code", [100, 131045, 999_999])
def test_refusals_with_a_server_error_prove_nothing(status: int, code: int) -> None:
    assert verdict(Answer(status, error(code))) == Verdict(Uncertain(str(code)), DOUBT, str(code))


# --- the status decides, without a known code --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 410, 422, 499])
def test_unknown_code_with_a_client_error_is_refused(status: int) -> None:
    """The one default for codes that nobody has told us of."""
    assert verdict(Answer(status, error(999_999, "New"))) == Verdict(Reject("999999 New"), Open(), "999999")


@pytest.mark.parametrize("status", [400, 404, 410, 422, 499])
def test_unknown_code_that_calls_itself_transient_is_tried_again_later(status: int) -> None:
    reply = Answer(status, error(999_999, "New", is_transient=True))
    assert verdict(reply) == Verdict(RetryLater(RETRY_S, "999999 New"), Open(), "999999")
    urgent = judge(reply, streak=STREAK, attempts=ATTEMPTS, is_urgent=True, rand=0.5)
    assert urgent.outcome == RetryLater(0.2, "999999 New")


@pytest.mark.parametrize("is_transient", [False, None, "true", 1, {}])
def test_only_true_is_transient(is_transient: object) -> None:
    assert verdict(Answer(400, error(999_999, is_transient=is_transient))).outcome == Reject("999999")


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, 132000, Reject("132000")), (400, 130429, Snooze("130429")), (429, 999_999, Snooze("999999")),
        (403, 999_999, Snooze("999999")), (500, 999_999, Uncertain("999999")), (400, 131016, Uncertain("131016")),
    ],
)  # fmt: skip
def test_a_known_code_or_a_status_weighs_more_than_transient(status: int, code: int, outcome: Outcome) -> None:
    assert verdict(Answer(status, error(code, is_transient=True))).outcome == outcome


@pytest.mark.parametrize("status", [100, 200, 202, 302, 500, 599])
def test_unknown_code_with_any_other_status_is_uncertain(status: int) -> None:
    assert verdict(Answer(status, error(999_999))) == Verdict(Uncertain("999999"), DOUBT, "999999")


@pytest.mark.parametrize(("status", "gate"), [(429, THROTTLED), (401, CREDENTIAL), (403, CREDENTIAL)])
def test_status_of_limit_or_credential_without_a_known_code_closes_the_gate(status: int, gate: Close) -> None:
    name = f"http_{status}"
    assert verdict(Answer(status, None)) == Verdict(Snooze(name), gate, name)
    assert verdict(Answer(status, error(999_999))) == Verdict(Snooze("999999"), gate, "999999")


@pytest.mark.parametrize("status", [100, 200, 204, 307, 404, 502])
@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        "text",
        7,
        {"success": True},
        {"messages": []},
        {"messages": {}},
        {"messages": ["wamid.1"]},
        {"messages": [{}]},
        sent(wamid=""),
        sent(wamid=7),
        {"error": None},
        {"error": "no"},
        {"error": {}},
        error(None),
        error(True),
        error(-1),
        error(10**9),
        error(10**5000),
        error("12x"),
        error(4.0),
        error([4]),
    ],
)
def test_what_says_nothing_definite_is_uncertain(status: int, body: object) -> None:
    assert verdict(Answer(status, body)) == Verdict(Uncertain(f"http_{status}"), DOUBT, f"http_{status}")


@pytest.mark.parametrize("status", [201, 202, 302, 400, 500])
def test_an_id_counts_only_in_a_200(status: int) -> None:
    assert verdict(Answer(status, sent())) == Verdict(Uncertain(f"http_{status}"), DOUBT, f"http_{status}")


def test_code_in_quotes_is_a_code() -> None:
    assert verdict(Answer(400, error("130429"))) == Verdict(Snooze("130429"), THROTTLED, "130429")


# --- no answer ---------------------------------------------------------------------------------------------------------


def test_proved_unsent_snoozes_and_closes_the_gate() -> None:
    assert verdict(Unsent("refused")) == Verdict(Snooze("unsent refused"), UNREACHABLE, "unsent")


def test_lost_is_uncertain() -> None:
    assert verdict(Lost("timeout")) == Verdict(Uncertain("lost timeout"), DOUBT, "lost")


# --- kept texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("(#131009) Parameter value is not valid", "Parameter value is not valid"),
        ("a\tb\r\nc\x00d\u200be", "a b c d e"),
        ("x" * 19 + " " + "é" * 30, "x" * 19 + " " + "é" * 10),
        ("to 15551234567 failed", "to … failed"),
        ("to +1 (555) 123-4567 failed", "to … failed"),
        ("to +49 30 / 123456, 131026", "to …"),
        ("user US.13491208655302741918 unknown", "user … unknown"),
        ("user US.ENT.abc1 unknown", "user … unknown"),
        ("Malformed access token EAAGm0PX4ZCps", "Malformed access token …"),
        ("Malformed access token ab1c", "Malformed access token …"),
        ("Cannot parse 0a1b2c3d4e5f6a7b8c9d|Xy", "Cannot parse …"),
        ("wamid.HBgLMTU1NTEyMzQ1NjcVAgARGBI= is gone", "… is gone"),
        ("Param biz_opaque_callback_data is bad", "Param biz_opaque_callback_data is bad"),
        ("code 131026 in 24 hours", "code 131026 in 24 hours"),
        ("\ud800", ""),
        ("", ""),
        (None, ""),
        (["x"], ""),
    ],
)
def test_kept_text_is_short_and_quotes_nobody(message: object, kept: str) -> None:
    assert verdict(Answer(400, error(131009, message))).outcome == Reject(f"131009 {kept}".strip())


def test_title_stands_in_for_a_missing_message() -> None:
    assert verdict(Answer(400, {"error": {"code": 100, "title": "Bad"}})).outcome == Reject("100 Bad")
    assert verdict(Answer(400, error(100, "", error_user_title="Worse"))).outcome == Reject("100 Worse")


# --- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ok", "ok"),
        ("131056", "131056"),
        ("210", "200-299"),
        ("999999", "other"),
        ("http_502", "http_502"),
        ("http_599", "other"),
        ("²", "other"),
        ("9" * 5000, "other"),
        ("", "other"),
    ],
)
def test_label_is_of_a_closed_set(code: str, expected: str) -> None:
    assert label(code) == expected
    assert expected in LABELS


# --- any reply at all --------------------------------------------------------------------------------------------------

ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
CODES = st.sampled_from([row.code for row in codes.TABLE]) | st.integers() | JSON
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "error": st.fixed_dictionaries(
            {}, optional={"code": CODES, "message": JSON, "title": JSON, "is_transient": JSON}
        )
        | JSON,
        "messages": st.lists(
            st.fixed_dictionaries({}, optional={"id": JSON, "message_status": JSON}) | JSON, max_size=2
        )
        | JSON,
    },
)
ANSWERS = st.builds(Answer, st.integers(100, 599), JSON | SHAPED)
REPLIES: st.SearchStrategy[Any] = ANSWERS | st.builds(Lost, st.text()) | st.builds(Unsent, st.text())


@given(reply=REPLIES, streak=st.integers(0), rand=st.floats(0, 1, exclude_max=True))
def test_every_reply_has_a_verdict_that_can_be_kept(reply: Reply, streak: int, rand: float) -> None:
    judged = judge(reply, streak=streak, attempts=ATTEMPTS, is_urgent=False, rand=rand)
    assert label(judged.code) in LABELS
    match judged.gate:
        case Close(_, for_s) | Doubt(for_s):
            assert 0 <= for_s <= 300
    match judged.outcome:
        case Accepted(wamid):
            assert wamid
        case RetryLater(_, text) | Snooze(text) | Reject(text) | Uncertain(text):
            assert text == judged.code or text.startswith(f"{judged.code} ")
            assert text.isprintable()
            assert len(text.encode()) <= len(judged.code) + 1 + 40
            assert not re.search(r"\d{7,}", text.removeprefix(judged.code))


@given(answer=ANSWERS)
def test_only_a_200_with_an_id_is_accepted(answer: Answer) -> None:
    if isinstance(verdict(answer).outcome, Accepted):
        assert answer.status == 200
        assert isinstance(answer.body, dict)
        assert answer.body["messages"][0]["id"]


# --- Meta's own --------------------------------------------------------------------------------------------------------


@pytest.mark.fixtures
def test_every_error_in_metas_examples_is_judged_and_no_refusal_is_uncertain() -> None:
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
    path = Path(os.environ.get("WHATSAPP_FIXTURES", beside)) / "meta-openapi-v23.0" / "errors" / "error_examples.json"
    if not path.exists():
        pytest.skip(f"Meta's example payloads are not at {path}: set WHATSAPP_FIXTURES")
    examples = json.loads(path.read_text())
    unsure = {row.code for row in codes.TABLE if row.rule is Rule.UNCERTAIN}
    left_open = {
        example["body"]["error"]["code"]
        for example in examples
        if isinstance(verdict(Answer(example["http_status"], example["body"])).outcome, Uncertain)
    }
    assert len(examples) == 276
    assert left_open <= unsure
