"""Meta's verification of a webhook URL: a GET whose challenge must come back."""

import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from dispatcher.simulator.webhooks.courier import Courier
from dispatcher.simulator.webhooks.line import request, target_of


@dataclass(frozen=True, slots=True)
class Verification:
    """How it went; `problem` says in words why not."""

    is_verified: bool
    status: int | None = None
    problem: str | None = None

    def report(self) -> dict[str, object]:
        """The same, ready for JSON."""
        return asdict(self)


async def verify(courier: Courier, url: str, token: str) -> Verification:
    """Ask once, as Meta does when a URL is entered."""
    challenge = str(secrets.randbelow(2**31))
    query = urlencode({"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": token})
    target = target_of(f"{url}{'&' if '?' in url else '?'}{query}")
    try:
        answer = await courier.ask(target, request("GET", target, {}))
    except OSError as exc:
        return Verification(is_verified=False, problem=str(exc) or type(exc).__name__)
    if answer.status != 200:
        return Verification(is_verified=False, status=answer.status, problem="the status is not 200")
    if answer.body != challenge.encode():
        return Verification(is_verified=False, status=200, problem="the body is not the challenge")
    return Verification(is_verified=True, status=200)
