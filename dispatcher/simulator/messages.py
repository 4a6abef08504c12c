"""The messages endpoint: judge a POST, file it, answer it; the order of the checks is the order of the methods."""

import asyncio
import random
import re

from dispatcher.simulator import answers, decision, effects
from dispatcher.simulator.codes import RATE_LIMIT, status_of
from dispatcher.simulator.decision import Decision
from dispatcher.simulator.door import Door
from dispatcher.simulator.faults import KINDS, Dice, Effect, Fault
from dispatcher.simulator.ledger import Ledger
from dispatcher.simulator.post import Post, read_post
from dispatcher.simulator.protocol import Request
from dispatcher.simulator.rules import Rule, Rules
from dispatcher.simulator.senders import Numbers, Sender
from dispatcher.simulator.settings import SimulatorSettings
from dispatcher.simulator.webhooks.office import Webhooks
from dispatcher.simulator.window import PairLimit

PATH = re.compile(rb"/v[0-9]+\.[0-9]+/([^/?]+)/messages(?:\?.*)?")
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


class Messages:
    """Takes POSTs of messages. What is refused for the number's rate does not count towards it; all else does."""

    def __init__(
        self, settings: SimulatorSettings, numbers: Numbers, ledger: Ledger, webhooks: Webhooks, door: Door
    ) -> None:
        self.settings = settings
        self.numbers = numbers
        self.ledger = ledger
        self.webhooks = webhooks
        self.rules = Rules()
        self.dice = Dice(settings.faults)
        self.latency = Latency(settings.latency_ms, settings.jitter_ms, settings.faults.seed)
        # Set while no answer waits for its time.
        self.is_idle = asyncio.Event()
        self.is_idle.set()
        self._due_count = 0
        self._pairs = PairLimit() if settings.has_pair_limit else None
        self._door = door

    def handle(self, request: Request, number: str) -> None:
        """Judge a POST, file it, and see to its answer."""
        post = read_post(number, request.arrived_ns, request.content_type.decode("latin-1"), request.body)
        request.filed_under = post.key
        self.ledger.opens(post.key)
        sender = self.numbers.find(number)
        made = self._judge(post, sender, _token_of(request))
        wamid = self.ledger.file(post, made, None if sender is None else sender.window.rate)
        if made.is_accepted:
            self.webhooks.accepted(post, wamid, is_held=made.message_status == decision.HELD)
        if made.effect is Effect.HANG:
            return
        body = answers.body_of(made, post, wamid)
        delay_s = self.latency.next_s(None if sender is None else sender.latency_ms)
        if not delay_s or effects.is_at_once(made):
            self._answer(request, made, body)
            return
        self._due_count += 1
        self.is_idle.clear()
        asyncio.get_running_loop().call_later(delay_s, self._answer_due, request, made, body)

    def _judge(self, post: Post, sender: Sender | None, token: str | None) -> Decision:
        fault = self.dice.draw()
        refusal = self.numbers.refuse(post.number, sender, token)
        if refusal is not None or sender is None:
            return refusal or Decision("unknown_number", 400, 100, 33)
        if not sender.window.admits(post.arrived_ns):
            return Decision("over_limit", self.settings.limit_status, RATE_LIMIT)
        made = self._judge_content(post, fault)
        if made.is_accepted and self.webhooks.holds(post.template):
            made.message_status = decision.HELD
        if made.code == RATE_LIMIT:
            sender.window.take_back()
        return made

    def _judge_content(self, post: Post, fault: Fault | None) -> Decision:
        if post.problem is not None:
            return Decision("malformed", 400, post.problem.code, details=post.problem.details)
        if self._pairs is not None and not self._pairs.admits(post.number, post.to, post.arrived_ns):
            return Decision("over_pair_limit", self.settings.limit_status, 131056)
        rule = self.rules.match(post.number, post.to, post.template, post.arrived_ns)
        if rule is not None:
            return self._obey(rule)
        if fault is not None:
            return self._suffer(fault)
        return decision.accept(self.settings.template_status if post.template else None)

    def _obey(self, rule: Rule) -> Decision:
        if rule.fault is not None:
            return self._suffer(KINDS[rule.fault])
        if rule.code is None:
            return decision.accept(rule.message_status)
        status = rule.http_status or status_of(rule.code, self.settings.limit_status)
        return Decision("ruled", status, rule.code, rule.subcode, rule.details or "", rule.is_accepted)

    def _suffer(self, fault: Fault) -> Decision:
        return decision.suffer(fault, self.dice, self.settings.limit_status)

    def _answer_due(self, request: Request, made: Decision, body: bytes) -> None:
        self._due_count -= 1
        if not self._due_count:
            self.is_idle.set()
        self._answer(request, made, body)

    def _answer(self, request: Request, made: Decision, body: bytes) -> None:
        effects.send(request, made, body)
        if made.effect is Effect.REFUSE:
            self._door.shut_for(self.dice.faults.refuse_for_s)


def _token_of(request: Request) -> str | None:
    """The bearer token: None if there is no header, "" if the header is no bearer's."""
    header = request.authorization
    if header is None:
        return None
    return header[len(BEARER) :].decode("latin-1") if header.startswith(BEARER) else ""
