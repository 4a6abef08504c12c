"""What becomes of a POST, decided before anything is written; a plain value and the common ways to make one."""

from dataclasses import dataclass

from dispatcher.simulator.faults import Dice, Effect, Fault

# Nothing with a status was sent.
NO_STATUS = 0
NO_CODE = -1
# Accepted, but kept back until the quality of its template is known.
HELD = "held_for_quality_assessment"


@dataclass(slots=True)
class Decision:
    """`outcome` names it in the ledger; without an `effect` the answer is a plain one of Meta's."""

    outcome: str
    status: int = 200
    code: int = NO_CODE
    subcode: int | None = None
    details: str = ""
    is_accepted: bool = False
    message_status: str | None = None
    effect: Effect | None = None


def accept(message_status: str | None) -> Decision:
    """The message is taken, and the caller told so."""
    return Decision("accepted", is_accepted=True, message_status=message_status)


def suffer(fault: Fault, dice: Dice, limit_status: int) -> Decision:
    """A fault hits the POST; whether the message was taken all the same is the fault's to say."""
    decision = Decision(fault.name, is_accepted=fault.is_accepted, effect=fault.effect)
    match fault.effect:
        case Effect.RESET | Effect.CLOSE | Effect.HANG | Effect.HALF_HEAD:
            decision.status = NO_STATUS
        case Effect.GRAPH_5XX:
            decision.code = dice.graph_code()
            decision.status = 503 if decision.code == 2 else 500
        case Effect.BARE_5XX:
            decision.status = dice.bare_status()
        case Effect.HTML:
            decision.status = 502
        case Effect.THROTTLE:
            decision.code, decision.status = 130429, limit_status
        case Effect.REDIRECT:
            decision.status = 307
        case Effect.EMPTY | Effect.HALF_BODY | Effect.REFUSE:
            decision.status = 200
    return decision
