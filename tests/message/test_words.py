import pickle

from dispatcher import errors
from dispatcher.message.message import (
    DEAD_KEPT_S,
    LANE_DEFAULTS,
    Category,
    LaneDefaults,
    OnUncertain,
    Priority,
    State,
    Ticket,
)
from dispatcher.message.priority import LANE_OF


def test_what_may_still_be_posted_is_not_settled() -> None:
    assert {state for state in State if not state.is_settled} == {State.QUEUED, State.SENDING, State.UNCERTAIN}


def test_urgent_is_served_before_normal_before_bulk() -> None:
    assert sorted(Priority, key=LANE_OF.__getitem__) == [Priority.URGENT, Priority.NORMAL, Priority.BULK]
    assert [LANE_OF[priority] for priority in Priority] == [0, 1, 2]


def test_every_lane_has_the_documented_defaults() -> None:
    day_s = 86_400
    assert dict(LANE_DEFAULTS) == {
        Priority.URGENT: LaneDefaults(300, day_s, 0, Category.AUTHENTICATION, OnUncertain.RESEND),
        Priority.NORMAL: LaneDefaults(day_s, 7 * day_s, 900, Category.UTILITY, OnUncertain.EVIDENCE),
        Priority.BULK: LaneDefaults(day_s, 7 * day_s, 900, Category.MARKETING, OnUncertain.EVIDENCE),
    }
    assert 30 * day_s == DEAD_KEPT_S


def test_a_ticket_carries_a_refusal_in_place_of_a_state() -> None:
    ticket = Ticket("order-4411", None, duplicate=False, error=errors.Refused("to", "is missing", "order-4411"))
    assert str(pickle.loads(pickle.dumps(ticket)).error) == "to: is missing"
    assert Ticket("order-4411", State.QUEUED, duplicate=True).error is None
