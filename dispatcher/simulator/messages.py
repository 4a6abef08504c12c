"""The messages endpoint: judges a POST, records it, answers it. The order of the checks is the order of the methods."""

import asyncio
import random
from collections.abc import Callable

from dispatcher.simulator import answers
from dispatcher.simulator.answers import Decision
from dispatcher.simulator.codes import PAIR_LIMIT, RATE_LIMIT, status_of
from dispatcher.simulator.faults import FAULTS, AnswerRule, Effect, Fault, FaultSampler, Rules
from dispatcher.simulator.ledger import SimulatorLedger
from dispatcher.simulator.limits import PairLimit
from dispatcher.simulator.protocol import Request
from dispatcher.simulator.send_request import SendRequest, read_send_request
from dispatcher.simulator.senders import Sender, Senders
from dispatcher.simulator.settings import SimulatorSettings
from dispatcher.simulator.webhooks import OutgoingWebhooks

BEARER = b"Bearer "


class Latency:
    """How long an answer takes."""

    def __init__(self, base_ms: float, jitter_ms: float, seed: int) -> None:
        self.base_ms = base_ms
        self.jitter_ms = jitter_ms
        self._random = random.Random(seed)  # noqa: S311 - a test that can be repeated, no secret

    def next_s(self, own_ms: float | None) -> float:
        """The time until the next answer; `own_ms` is the number's own latency, if it has one."""
        base_ms = self.base_ms if own_ms is None else own_ms
        jitter_ms = self._random.random() * self.jitter_ms if self.jitter_ms else 0.0
        return (base_ms + jitter_ms) / 1000


class MessagesEndpoint:
    """Takes POSTs of messages. What is refused for the number's rate does not count towards it; all else does.

    `close_for` makes the server refuse connects for so many seconds.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        senders: Senders,
        ledger: SimulatorLedger,
        webhooks: OutgoingWebhooks,
        close_for: Callable[[float], None],
    ) -> None:
        self.rules = Rules()
        self.fault_sampler = FaultSampler(settings.faults)
        self.latency = Latency(settings.latency_ms, settings.jitter_ms, settings.faults.seed)
        # Set while no answer waits for its time.
        self.is_idle = asyncio.Event()
        self.is_idle.set()
        self._settings = settings
        self._senders = senders
        self._ledger = ledger
        self._webhooks = webhooks
        self._close_for = close_for
        self._due_count = 0
        self._pairs = PairLimit() if settings.has_pair_limit else None

    def handle(self, request: Request, number: str) -> None:
        """Judge a POST, record it, and see to its answer."""
        content_type = request.content_type.decode("latin-1")
        post = read_send_request(number, request.arrived_ns, content_type, request.body)
        request.key = post.key
        self._ledger.begin(post.key)
        sender = self._senders.find(number)
        decision = self._judge(post, sender, _token_of(request))
        wamid = self._ledger.record(post, decision, None if sender is None else sender.window.rate)
        if decision.is_accepted:
            self._webhooks.accepted(post, wamid, is_held=decision.message_status == answers.HELD)
        if decision.effect is Effect.HANG:
            return
        body = answers.body_of(decision, post, wamid)
        delay_s = self.latency.next_s(None if sender is None else sender.latency_ms)
        if not delay_s or decision.skips_latency:
            self._answer(request, decision, body)
            return
        self._due_count += 1
        self.is_idle.clear()
        asyncio.get_running_loop().call_later(delay_s, self._answer_due, request, decision, body)

    def _judge(self, post: SendRequest, sender: Sender | None, token: str | None) -> Decision:
        fault = self.fault_sampler.draw()
        refusal = self._senders.refuse(post.number, sender, token)
        if refusal is not None or sender is None:
            return refusal or Decision("unknown_number", 400, 100, 33)
        if not sender.window.admits(post.arrived_ns):
            return Decision("over_limit", self._settings.limit_status, RATE_LIMIT)
        decision = self._judge_content(post, fault)
        if decision.is_accepted and self._webhooks.holds(post.template):
            decision.message_status = answers.HELD
        if decision.code == RATE_LIMIT:
            sender.window.take_back()
        return decision

    def _judge_content(self, post: SendRequest, fault: Fault | None) -> Decision:
        if post.problem is not None:
            return Decision("malformed", 400, post.problem.code, details=post.problem.details)
        if self._pairs is not None and not self._pairs.admits(post.number, post.to, post.arrived_ns):
            return Decision("over_pair_limit", self._settings.limit_status, PAIR_LIMIT)
        rule = self.rules.match(post.number, post.to, post.template, post.arrived_ns)
        if rule is not None:
            return self._apply_rule(rule)
        if fault is not None:
            return self._apply_fault(fault)
        return answers.accept(self._settings.template_status if post.template else None)

    def _apply_rule(self, rule: AnswerRule) -> Decision:
        if rule.fault is not None:
            return self._apply_fault(FAULTS[rule.fault])
        if rule.code is None:
            return answers.accept(rule.message_status)
        status = rule.http_status or status_of(rule.code, self._settings.limit_status)
        return Decision("ruled", status, rule.code, rule.subcode, rule.details or "", rule.is_accepted)

    def _apply_fault(self, fault: Fault) -> Decision:
        return answers.apply_fault(fault, self.fault_sampler, self._settings.limit_status)

    def _answer_due(self, request: Request, decision: Decision, body: bytes) -> None:
        self._due_count -= 1
        if not self._due_count:
            self.is_idle.set()
        self._answer(request, decision, body)

    def _answer(self, request: Request, decision: Decision, body: bytes) -> None:
        answers.send(request, decision, body)
        if decision.effect is Effect.REFUSE:
            self._close_for(self.fault_sampler.faults.refuse_for_s)


def _token_of(request: Request) -> str | None:
    """The bearer token: None if there is no header, "" if the header is no bearer's."""
    header = request.authorization
    if header is None:
        return None
    return header[len(BEARER) :].decode("latin-1") if header.startswith(BEARER) else ""
