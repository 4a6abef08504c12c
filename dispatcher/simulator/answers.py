"""Answers: what becomes of a POST, its bytes as Meta writes them, and what a fault leaves of those on the wire."""

import base64
import itertools
import json
from dataclasses import dataclass
from http import HTTPStatus

from dispatcher.simulator.codes import RATE_LIMIT, TRANSIENT_CODES, title_of
from dispatcher.simulator.faults import Effect, Fault, FaultSampler
from dispatcher.simulator.protocol import Request
from dispatcher.simulator.send_request import SendRequest

# Nothing with a status was sent.
NO_STATUS = 0
NO_CODE = -1
# Accepted, but kept back until the quality of its template is known.
HELD = "held_for_quality_assessment"

JSON_TYPE = b"application/json; charset=UTF-8"
HTML_TYPE = b"text/html; charset=utf-8"
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry, something went wrong.</body></html>"
USAGE = (
    b'X-Business-Use-Case-Usage: {"102290129340398":[{"type":"whatsapp","call_count":1,"total_cputime":1,'
    b'"total_time":1,"estimated_time_to_regain_access":0}]}\r\n'
)
API_VERSION = b"facebook-api-version: v25.0\r\n"
MESSAGE_OF_LIMIT = "Message failed to send because there were too many messages sent from this phone number"
HALF_HEAD_LENGTH = 40
LONGEST_PERSON = 255


@dataclass(slots=True)
class Decision:
    """What becomes of a POST. `outcome` names it in the ledger; without `effect` the answer is as Meta's would be."""

    outcome: str
    status: int = 200
    code: int = NO_CODE
    subcode: int | None = None
    details: str = ""
    is_accepted: bool = False
    message_status: str | None = None
    effect: Effect | None = None

    @property
    def skips_latency(self) -> bool:
        """Whether it happens at once: the connection breaks before the message is looked at."""
        return self.effect in {Effect.RESET, Effect.CLOSE} and not self.is_accepted


def accept(message_status: str | None) -> Decision:
    """The message is accepted, and the caller told so."""
    return Decision("accepted", is_accepted=True, message_status=message_status)


def apply_fault(fault: Fault, sampler: FaultSampler, limit_status: int) -> Decision:
    """A fault hits the POST; whether the message was accepted all the same is the fault's to say."""
    decision = Decision(fault.name, is_accepted=fault.is_accepted, effect=fault.effect)
    match fault.effect:
        case Effect.RESET | Effect.CLOSE | Effect.HANG | Effect.HALF_HEAD:
            decision.status = NO_STATUS
        case Effect.GRAPH_5XX:
            decision.code = sampler.graph_code()
            decision.status = 503 if decision.code == 2 else 500
        case Effect.BARE_5XX:
            decision.status = sampler.bare_status()
        case Effect.HTML:
            decision.status = 502
        case Effect.THROTTLE:
            decision.code, decision.status = RATE_LIMIT, limit_status
        case Effect.REDIRECT:
            decision.status = 307
        case Effect.EMPTY | Effect.HALF_BODY | Effect.REFUSE:
            decision.status = 200
    return decision


# What it says.


def wamid_of(person: str, serial: str, *, is_inbound: bool = False) -> str:
    """A message's id in Meta's form: who is on the other side, and what makes it unique, in base64.

    Read from Meta's examples: two fields of text, each with its length before it; `person` is a phone without its plus
    sign, and `serial` 18 hexadecimal digits for what businesses send, 20 for most of what they get.
    """
    who, what = person.removeprefix("+").encode()[:LONGEST_PERSON], serial.encode()
    direction = b"\x12" if is_inbound else b"\x11"
    content = b"\x1c\x18%c%b\x15\x02\x00%b\x18%c%b\x00" % (len(who), who, direction, len(what), what)
    return f"wamid.{base64.b64encode(content).decode()}"


def accepted_body(post: SendRequest, wamid: str, message_status: str | None) -> bytes:
    """What a caller is told whose message was accepted."""
    who = ("user_id", post.to) if post.is_user_id else ("wa_id", post.to.removeprefix("+"))
    message = {"id": wamid}
    if message_status is not None:
        message["message_status"] = message_status
    return json.dumps({
        "messaging_product": "whatsapp",
        "contacts": [{"input": post.to, who[0]: who[1]}],
        "messages": [message],
    }).encode()  # fmt: skip


def error_body(code: int, subcode: int | None = None, details: str = "") -> bytes:
    """Graph's error object."""
    error: dict[str, object] = {
        "message": f"(#{code}) {title_of(code)}",
        "type": "GraphMethodException" if subcode == 33 else "OAuthException",
        "code": code,
    }
    if subcode is not None:
        error["error_subcode"] = subcode
    if code in TRANSIENT_CODES:
        error["is_transient"] = True
    error["error_data"] = {
        "messaging_product": "whatsapp",
        "details": details or (MESSAGE_OF_LIMIT if code == RATE_LIMIT else title_of(code)),
    }
    error["fbtrace_id"] = _trace_id()
    return json.dumps({"error": error}).encode()


def body_of(decision: Decision, post: SendRequest, wamid: str) -> bytes:
    """The body of a plain answer of Meta's: an error if the decision has a code, else the acceptance."""
    if decision.code != NO_CODE:
        return error_body(decision.code, decision.subcode, decision.details)
    return accepted_body(post, wamid, decision.message_status)


def head(status: int, length: int, content_type: bytes = JSON_TYPE) -> bytes:
    """Status line and headers of an answer of so many bytes, without the blank line."""
    trace_id = _trace_id().encode()
    return b"".join((
        _status_lines.get(status) or f"HTTP/1.1 {status} Status\r\n".encode(),
        b"Content-Type: ", content_type,
        b"\r\nx-fb-request-id: ", trace_id,
        b"\r\nx-fb-trace-id: ", trace_id,
        b"\r\n", API_VERSION,
        USAGE,
        b"Content-Length: %d\r\n" % length,
    ))  # fmt: skip


_trace_numbers = itertools.count(1)
_status_lines = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def _trace_id() -> str:
    return f"A{next(_trace_numbers):021X}"


# How it is sent.


def send_json(request: Request, status: int, body: bytes) -> None:
    """Answer with a whole JSON body."""
    request.answer(head(status, len(body)), body)


def send(request: Request, decision: Decision, body: bytes) -> None:
    """Give the request what was decided. `body` is the answer it would have without a fault."""
    match decision.effect:
        case Effect.RESET:
            request.reset()
        case Effect.CLOSE:
            request.answer(b"", then_close=True)
        case Effect.HALF_HEAD:
            request.answer(b"", _whole_head(body)[:HALF_HEAD_LENGTH], then_close=True)
        case Effect.HALF_BODY:
            request.answer(b"", _whole_head(body) + body[: len(body) // 2], then_close=True)
        case Effect.EMPTY | Effect.BARE_5XX:
            request.answer(head(decision.status, 0))
        case Effect.HTML:
            request.answer(head(decision.status, len(HTML_PAGE), HTML_TYPE), HTML_PAGE)
        case Effect.REDIRECT:
            request.answer(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %b\r\nContent-Length: 0\r\n" % request.target)
        case _:
            send_json(request, decision.status, body)


def _whole_head(body: bytes) -> bytes:
    return head(200, len(body)) + b"\r\n"
