"""What events say of messages, uncertain_sends and receipts."""

from dispatcher.lab.evidence import UncertainSend, Way
from dispatcher.lab.timeline import Timeline

A = "106540352242922"


def timeline(*events: tuple[float, str] | tuple[float, str, str]) -> Timeline:
    """All of one message: when (s), which type, and its cause or error."""
    found = Timeline()
    for at_s, kind, *why in events:
        said = why[0] if why else ""
        event = {
            "type": kind,
            "key": "code-1",
            "number": A,
            "at": str(round(at_s * 1000)),
            "cause": said,
            "error": said,
        }
        found.note(event, at_s)
    return found


def test_an_answer_is_an_acceptance_and_receipts_do_not_change_that() -> None:
    found = timeline((1.0, "accepted"), (1.1, "delivered"), (1.2, "sent"), (1.3, "duplicate"))
    assert found.state("code-1") == "accepted"
    assert found.counts[A, "code", "accepted"] == 1
    assert found.receipts == {"code-1": {"sent", "delivered"}}
    assert (found.accepted_by_receipt, found.uncertain_sends) == (set(), ())


def test_a_receipt_that_comes_twice_counts_once() -> None:
    found = timeline((1.0, "accepted"), (1.1, "sent"), (1.2, "sent"))
    assert found.receipt_counts == {(A, "sent"): 1}


def test_a_receipt_before_the_answer_is_told_by_the_receipt_and_leaves_nothing_uncertain() -> None:
    found = timeline((1.0, "accepted"), (1.0, "sent"))
    assert (found.accepted_by_receipt, found.uncertain_sends) == ({"code-1"}, ())


def test_a_receipt_resolves_what_is_uncertain() -> None:
    found = timeline((1.0, "uncertain", "lost reset"), (1.2, "accepted"), (1.2, "sent"), (1.5, "delivered"))
    assert found.uncertain_sends == (UncertainSend("code-1", 1.0, "lost reset", Way.RECEIPT, 1.2, 1.2),)
    assert found.accepted_by_receipt == {"code-1"}
    assert found.counts == {(A, "code", "uncertain"): 0, (A, "code", "accepted"): 1}


def test_an_answer_that_came_after_all_is_no_receipt() -> None:
    found = timeline((1.0, "uncertain", "lease ended"), (1.2, "accepted"), (1.4, "sent"))
    assert found.uncertain_sends == (UncertainSend("code-1", 1.0, "lease ended", Way.OTHERWISE, 1.2, 1.2),)
    assert found.accepted_by_receipt == set()


def test_what_is_sent_again_on_proof_ends_with_its_acceptance() -> None:
    events = [(1.0, "uncertain", "lost timeout"), (3.0, "resend", "absence")]
    waiting = timeline(*events)
    assert waiting.state("code-1") == ""
    assert waiting.uncertain_sends == (UncertainSend("code-1", 1.0, "lost timeout", Way.ABSENCE, 3.0),)
    found = timeline(*events, (3.1, "snoozed"), (3.4, "accepted"), (3.5, "sent"))
    assert found.uncertain_sends == (UncertainSend("code-1", 1.0, "lost timeout", Way.ABSENCE, 3.0, 3.4),)


def test_what_is_uncertain_again_is_two_uncertain_sends() -> None:
    found = timeline(
        (1.0, "uncertain", "lost reset"), (3.0, "resend", "absence"), (3.2, "uncertain", "lost reset"),
        (3.4, "accepted"), (3.4, "delivered"),
    )  # fmt: skip
    assert found.uncertain_sends == (
        UncertainSend("code-1", 1.0, "lost reset", Way.ABSENCE, 3.0, 3.2),
        UncertainSend("code-1", 3.2, "lost reset", Way.RECEIPT, 3.4, 3.4),
    )


def test_a_resend_without_proof_and_a_message_that_is_held_are_told_apart() -> None:
    unproven = timeline((1.0, "uncertain", "lost reset"), (3.0, "resend", "unproven"))
    held = timeline((1.0, "uncertain", "lost reset"), (9.0, "dead", "held"))
    dead = timeline((1.0, "uncertain", "lost reset"), (9.0, "dead", "exhausted"))
    assert [found.uncertain_sends[0].way for found in (unproven, held, dead)] == [Way.UNPROVEN, Way.HELD, Way.OTHERWISE]
    assert [found.uncertain_sends[0].why for found in (unproven, held, dead)] == ["", "held", ""]
    assert held.state("code-1") == "dead"
