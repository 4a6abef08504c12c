"""Writes an answer, or what a fault leaves of it; decides nothing."""

from dispatcher.simulator import answers
from dispatcher.simulator.decision import Decision
from dispatcher.simulator.faults import Effect
from dispatcher.simulator.protocol import Request

HALF_HEAD_LENGTH = 40
BREAKS = frozenset({Effect.RESET, Effect.CLOSE, Effect.HALF_HEAD, Effect.HALF_BODY})


def is_at_once(made: Decision) -> bool:
    """Whether it happens without latency: the connection breaks before the message is looked at."""
    return made.effect in {Effect.RESET, Effect.CLOSE} and not made.is_accepted


def send(request: Request, made: Decision, body: bytes) -> None:
    """Give the request what was decided. `body` is the answer it would have without a fault."""
    if made.effect in BREAKS:
        _break(request, made, body)
        return
    match made.effect:
        case Effect.EMPTY | Effect.BARE_5XX:
            request.answer(answers.head(made.status, 0))
        case Effect.HTML:
            request.answer(answers.head(made.status, len(answers.HTML_PAGE), answers.HTML_TYPE), answers.HTML_PAGE)
        case Effect.REDIRECT:
            request.answer(answers.redirect_head(request.target))
        case _:
            request.answer(answers.head(made.status, len(body)), body)


def _break(request: Request, made: Decision, body: bytes) -> None:
    whole_head = answers.head(200, len(body)) + b"\r\n"
    match made.effect:
        case Effect.RESET:
            request.reset()
        case Effect.HALF_HEAD:
            request.answer(b"", whole_head[:HALF_HEAD_LENGTH], then_close=True)
        case Effect.HALF_BODY:
            request.answer(b"", whole_head + body[: len(body) // 2], then_close=True)
        case _:
            request.answer(b"", then_close=True)
