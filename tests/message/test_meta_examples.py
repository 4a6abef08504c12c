import json
from pathlib import Path
from typing import Any

import pytest

from dispatcher import errors
from dispatcher.message import Message, body

REPOSITORY = Path(__file__).parents[2]
REQUESTS = REPOSITORY.parent / "shared" / "fixtures" / "meta-openapi-v23.0" / "send_requests"

pytestmark = pytest.mark.fixtures


@pytest.fixture
def requests() -> dict[str, dict[str, Any]]:
    if not REQUESTS.is_dir():
        pytest.skip(f"Meta's example payloads are not at {REQUESTS}")
    return {path.stem: json.loads(path.read_text()) for path in sorted(REQUESTS.glob("*.json"))}


def test_every_example_of_meta_is_taken_and_posted_as_it_is(requests: dict[str, dict[str, Any]]) -> None:
    del requests["send_typing_indicator_and_read_receipt"]
    assert len(requests) == 49
    implied = {"send_text_message_with_preview_url": "text", "send_reply_to_list_message": "interactive"}
    for name, request in requests.items():
        to = request.pop("to")
        message = Message.parse(
            {"number": "otp-us", "to": to if to[-1].isdigit() else "+15551234567", "content": request}
        )
        expected = {"recipient_type": "individual", "to": message.to} | request
        if name in implied:
            expected["type"] = implied[name]
        assert json.loads(body(message) + b"}") == expected, name


def test_marking_as_read_is_no_message(requests: dict[str, dict[str, Any]]) -> None:
    request = requests["send_typing_indicator_and_read_receipt"]
    with pytest.raises(errors.Refused) as refused:
        Message.parse({"number": "otp-us", "to": "+15551234567", "content": request})
    assert str(refused.value) == (
        "content: marks a message as read or shows typing, which is no message and not queued"
    )
