import httpx
import pytest

from dispatcher.simulator import AnswerRule, SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.simulator.faults import Rules
from tests.servers import PATIENCE_S
from tests.simulator.wire import NUMBER, ONE_IN_A_LONG_TIME, PATH, headers, template_to, text_to

S = 1_000_000_000


def test_a_rule_covers_only_its_number_recipient_and_template() -> None:
    rules = Rules(lambda: 0)
    rule = AnswerRule(code=132015, number="1", to="+1555", template="shipped")
    rules.add(rule)
    assert rules.match("1", "+1555", "shipped", 0) == rule
    for other in (("2", "+1555", "shipped"), ("1", "+1556", "shipped"), ("1", "+1555", "other"), ("1", "+1555", "")):
        assert rules.match(*other, 0) is None


def test_a_rule_with_a_count_ends_after_it() -> None:
    rules = Rules(lambda: 0)
    rules.add(AnswerRule(code=131026, count=2))
    assert [rules.match("1", "+1555", "", 0) is not None for _ in range(3)] == [True, True, False]
    assert len(rules) == 0


def test_a_rule_for_a_while_ends_with_it() -> None:
    rules = Rules(lambda: 10 * S)
    rules.add(AnswerRule(code=131026, for_s=1.5))
    assert rules.match("1", "+1555", "", 11 * S) is not None
    assert rules.match("1", "+1555", "", int(11.5 * S)) is None


def test_the_oldest_rule_decides() -> None:
    rules = Rules(lambda: 0)
    rules.add(AnswerRule(code=131026, count=1))
    rules.add(AnswerRule(code=131047))
    codes = [found.code for found in (rules.match("1", "", "", 0) for _ in range(2)) if found]
    assert codes == [131026, 131047]


@pytest.mark.parametrize("fields", [{}, {"code": 1, "fault": "html"}, {"fault": "unheard of"}])
def test_a_rule_without_one_clear_answer_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"exactly one|no fault"):
        AnswerRule(**fields)  # type: ignore[arg-type]  # the wrong fields are the point


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AnswerRule(code=131026), (400, 131026, None)),
        (AnswerRule(code=132001), (404, 132001, None)),
        (AnswerRule(code=131016), (500, 131016, None)),
        (AnswerRule(code=190, subcode=463), (401, 190, 463)),
        (AnswerRule(code=131056), (400, 131056, None)),
        (AnswerRule(code=131056, http_status=429), (429, 131056, None)),
        (AnswerRule(code=424242, http_status=418), (418, 424242, None)),
        (AnswerRule(code=0), (401, 0, None)),
    ],
)
async def test_a_rule_answers_with_its_code(
    simulator: Simulator, client: httpx.AsyncClient, rule: AnswerRule, expected: tuple[int, int, int | None]
) -> None:
    simulator.rules.add(rule)
    answer = await client.post(PATH, json=text_to())
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("error_subcode")) == expected
    (request,) = simulator.ledger.requests()
    assert (request["outcome"], request["code"], request["wamid"]) == ("ruled", expected[1], None)


async def test_a_rule_may_accept_what_it_reports_as_an_error(simulator: Simulator, client: httpx.AsyncClient) -> None:
    simulator.rules.add(AnswerRule(code=131000, is_accepted=True, count=1))
    assert (await client.post(PATH, json=text_to())).status_code == 500
    assert (await client.post(PATH, json=text_to(claim=2))).status_code == 200
    assert len(simulator.ledger.accepted_wamids("order-1")) == 2


async def test_a_rule_may_hold_a_template(simulator: Simulator, client: httpx.AsyncClient) -> None:
    simulator.rules.add(AnswerRule(message_status="held_for_quality_assessment", template="shipped"))
    statuses = [
        (await client.post(PATH, json=template_to(name=name, key=name))).json()["messages"][0]["message_status"]
        for name in ("shipped", "other")
    ]
    assert statuses == ["held_for_quality_assessment", "accepted"]


async def test_a_rule_that_throttles_does_not_use_up_the_rate() -> None:
    settings = SimulatorSettings(numbers={NUMBER: SimulatedNumber(rate=ONE_IN_A_LONG_TIME)})
    async with (
        Simulator(settings).serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, headers=headers(), trust_env=False, timeout=PATIENCE_S) as client,
    ):
        simulator.rules.add(AnswerRule(code=130429, count=5))
        outcomes = [(await client.post(PATH, json=text_to(key=str(place)))).status_code for place in range(8)]
    assert outcomes == [400] * 5 + [200, 400, 400]
