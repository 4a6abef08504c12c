"""What a simulator is started with: plain values, no environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dispatcher.simulator.faults import Faults
from dispatcher.simulator.webhooks.settings import WebhookSettings
from dispatcher.simulator.window import shape

DEFAULT_RATE = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A sender's number. What is None is taken from the simulator's own setting.

    Raises:
        ValueError: The rate is not above zero.
    """

    token: str | None = None
    rate: float | None = None
    latency_ms: float | None = None
    waba_id: str | None = None
    display_phone_number: str | None = None

    def __post_init__(self) -> None:
        if self.rate is not None:
            shape(self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """How the simulator behaves. Without `numbers` every number id is accepted, each with the default rate.

    `token` None accepts any bearer token. `limit_status` is the status of limit errors, 400 or 429. Answers come after
    `latency_ms` and up to `jitter_ms` more. `template_status` is the `message_status` of accepted templates, None for
    none. Messages of `held_templates` are answered `held_for_quality_assessment` and have no statuses until they are
    released. `webhooks` says where statuses go. `keep_bodies` keeps every request's body in the ledger.

    Raises:
        ValueError: A value is out of its range.
    """

    numbers: Mapping[str, Number] = field(default_factory=dict)
    token: str | None = None
    rate: float = DEFAULT_RATE
    host: str = "127.0.0.1"
    port: int = 0
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    limit_status: int = 400
    has_pair_limit: bool = False
    template_status: str | None = "accepted"
    held_templates: frozenset[str] = frozenset()
    faults: Faults = field(default_factory=Faults)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    keep_bodies: bool = False

    def __post_init__(self) -> None:
        shape(self.rate)
        if self.limit_status not in {400, 429}:
            raise ValueError(f"limit errors have the status 400 or 429, not {self.limit_status}")
        if self.latency_ms < 0 or self.jitter_ms < 0:
            raise ValueError("latency and jitter are not below zero")
