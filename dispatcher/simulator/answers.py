"""The bytes of answers, as Meta writes them; decides nothing."""

import itertools
import json
from http import HTTPStatus

from dispatcher.simulator.codes import RATE_LIMIT, TRANSIENT_CODES, title_of
from dispatcher.simulator.decision import NO_CODE, Decision
from dispatcher.simulator.post import Post

JSON_TYPE = b"application/json; charset=UTF-8"
HTML_TYPE = b"text/html; charset=utf-8"
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry, something went wrong.</body></html>"
USAGE = (
    b'X-Business-Use-Case-Usage: {"102290129340398":[{"type":"whatsapp","call_count":1,"total_cputime":1,'
    b'"total_time":1,"estimated_time_to_regain_access":0}]}\r\n'
)
API_VERSION = b"facebook-api-version: v25.0\r\n"
MESSAGE_OF_LIMIT = "Message failed to send because there were too many messages sent from this phone number"

_trace_numbers = itertools.count(1)


def _trace_id() -> str:
    return f"A{next(_trace_numbers):021X}"


_status_lines: dict[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def _status_line(status: int) -> bytes:
    return _status_lines.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()


def head(status: int, length: int, content_type: bytes = JSON_TYPE) -> bytes:
    """Status line and headers of an answer of so many bytes, without the blank line."""
    trace_id = _trace_id().encode()
    return b"".join((
        _status_line(status),
        b"Content-Type: ", content_type,
        b"\r\nx-fb-request-id: ", trace_id,
        b"\r\nx-fb-trace-id: ", trace_id,
        b"\r\n", API_VERSION,
        USAGE,
        b"Content-Length: %d\r\n" % length,
    ))  # fmt: skip


def redirect_head(location: bytes) -> bytes:
    """A 307 to another place."""
    return b"HTTP/1.1 307 Temporary Redirect\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n"


def accepted_body(post: Post, wamid: str, message_status: str | None) -> bytes:
    """What a caller is told whose message was taken."""
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


def body_of(decision: Decision, post: Post, wamid: str) -> bytes:
    """The body of a plain answer of Meta's: an error if the decision has a code, else the acceptance."""
    if decision.code != NO_CODE:
        return error_body(decision.code, decision.subcode, decision.details)
    return accepted_body(post, wamid, decision.message_status)
