"""One POST to the messages endpoint as the rest of the simulator sees it: whose, for whom, and filed under what."""

import re
from dataclasses import dataclass

from dispatcher.simulator import envelope
from dispatcher.simulator.malformed import INVALID, Malformed, is_object

# How the callback data of the judged worker is made: its format, the claim's number, the key.
CALLBACK_DATA = re.compile(r"d1:([0-9]{1,9}):(.+)", re.DOTALL)
NO_CLAIM = -1


@dataclass(slots=True)
class Post:
    """A POST that has been read. What the body does not say is empty; `problem` is why Meta would refuse the body."""

    number: str
    arrived_ns: int
    to: str = ""
    is_user_id: bool = False
    kind: str = ""
    template: str = ""
    callback_data: str = ""
    key: str = ""
    claim: int = NO_CLAIM
    problem: Malformed | None = None
    body: bytes = b""


def file_under(callback_data: str) -> tuple[str, int]:
    """The key and claim that callback data carry; what has another format is its own key, without a claim."""
    found = CALLBACK_DATA.fullmatch(callback_data)
    return (found[2], int(found[1])) if found else (callback_data, NO_CLAIM)


def read_post(number: str, arrived_ns: int, content_type: str, body: bytes) -> Post:
    """Read a body as far as it can be read; never raises."""
    post = Post(number, arrived_ns, body=body)
    try:
        document = envelope.parse(body)
        _note(post, document)
        if content_type.partition(";")[0].strip().lower() != "application/json":
            post.problem = Malformed(INVALID, "The Content-Type is not application/json")
            return post
        envelope.check(document)
    except Malformed as problem:
        post.problem = problem
    return post


def _note(post: Post, document: object) -> None:
    if not is_object(document):
        return
    post.is_user_id = "recipient" in document
    to = document.get("recipient" if post.is_user_id else "to")
    post.to = to if isinstance(to, str) else ""
    kind = document.get("type")
    post.kind = kind if isinstance(kind, str) else ""
    data = document.get("biz_opaque_callback_data")
    if isinstance(data, str):
        post.callback_data = data
        post.key, post.claim = file_under(data)
    template = document.get("template")
    name = template.get("name") if is_object(template) else None
    post.template = name if isinstance(name, str) else ""
