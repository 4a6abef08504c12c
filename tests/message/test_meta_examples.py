"""Meta's own examples, which nobody here wrote: taken, and posted with the same meaning."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dispatcher import errors
from dispatcher.message.message import Message, body
from dispatcher.simulator import Simulator, SimulatorSettings

REPOSITORY = Path(__file__).parents[2]
REQUESTS = REPOSITORY.parent / "shared" / "fixtures" / "meta-openapi-v23.0" / "send_requests"
IMPLIED = {"send_text_message_with_preview_url": "text", "send_reply_to_list_message": "interactive"}

Requests = dict[str, dict[str, Any]]

pytestmark = pytest.mark.fixtures


@pytest.fixture
def requests() -> Requests:
    if not REQUESTS.is_dir():
        pytest.skip(f"Meta's example payloads are not at {REQUESTS}")
    return {path.stem: json.loads(path.read_text()) for path in sorted(REQUESTS.glob("*.json"))}


def messages(requests: Requests) -> Iterator[tuple[str, Message, dict[str, Any]]]:
    """The name, the message and the request as it should be posted: with `+`, a recipient type and a type."""
    del requests["send_typing_indicator_and_read_receipt"]
    assert len(requests) == 49
    for name, request in requests.items():
        to = request.pop("to")
        message = Message.parse(
            {"number": "otp-us", "to": to if to[-1].isdigit() else "+15551234567", "content": request}
        )
        expected = {"recipient_type": "individual", "to": message.to} | request
        if name in IMPLIED:
            expected["type"] = IMPLIED[name]
        yield name, message, expected


def with_links(value: Any, name: str = "") -> Any:
    """The same with URLs where Meta has placeholders for them."""
    if isinstance(value, dict):
        return {key: with_links(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_links(inner) for inner in value]
    return "https://example.com/a" if name == "link" else value


def test_every_example_of_meta_is_taken_and_posted_as_it_is(requests: Requests) -> None:
    for name, message, expected in messages(requests):
        assert json.loads(body(message) + b"}") == expected, name


async def test_every_example_of_meta_reaches_the_endpoint(requests: Requests) -> None:
    async with (
        Simulator(SimulatorSettings(rate=1000, keep_bodies=True)).serving() as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client,
    ):
        for name, message, expected in messages(with_links(requests)):
            answer = await client.post(
                "/v25.0/106540352242922/messages",
                content=body(message) + b',"biz_opaque_callback_data":"d1:1:%s"}' % name.encode(),
                headers={"Content-Type": "application/json", "Authorization": "Bearer t"},
            )
            assert answer.status_code == 200, (name, answer.text)
            assert json.loads(simulator.ledger.bodies[-1]) == expected | {"biz_opaque_callback_data": f"d1:1:{name}"}
        assert simulator.ledger.accepted == 49


def test_marking_as_read_is_no_message(requests: Requests) -> None:
    request = requests["send_typing_indicator_and_read_receipt"]
    with pytest.raises(errors.Refused) as refused:
        Message.parse({"number": "otp-us", "to": "+15551234567", "content": request})
    assert str(refused.value) == (
        "content: marks a message as read or shows typing, which is no message and not queued"
    )
