"""What a simulator and its webhooks are set to: plain values, no environment."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Self, get_type_hints

from pyreqwest.http import Url

from dispatcher.simulator.faults import Faults
from dispatcher.simulator.limits import window_size

DEFAULT_RATE = 80.0
# What Meta puts into one webhook at most.
MOST_UPDATES = 1000
WEEK_S = 604_800.0

SHARES = (
    "duplicates",
    "failed",
    "lost_delivered",
    "lost_failed",
    "lost_messages",
    "lost_read",
    "lost_sent",
    "read",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNumber:
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
            window_size(self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where webhooks go, and what becomes of them. Without `url` there are none.

    With `secret` they are signed, with `verify_token` the URL is verified at the start. `waba_id` and
    `display_phone_number` are those of numbers that have none of their own.

    A status comes so many ms after its message was accepted (`sent_ms`, `delivered_ms`, `read_ms`, `failed_ms`) and up
    to `jitter_ms` more, never before the one it follows, unless `is_shuffled`; with several `connections` they may
    overtake each other all the same. Shares lie between 0 and 1: `read` of the messages that did not fail, `failed`
    (with `failed_code`, and after a `sent` if `is_sent_before_failed`), `lost_sent` and its like of the statuses,
    `lost_messages` of the messages, all of whose statuses are lost, `duplicates` of the webhooks, which are sent twice.

    A webhook carries up to `batch_most` updates, which gather for `batch_ms`. Up to `connections` webhooks travel at a
    time. What is not answered 200 within `timeout_ms` is tried again at once, then after `retry_ms`, each time
    `retry_growth` times later, up to `retry_most_ms`, until it was tried `tries_most` times or `give_up_s` have passed.
    If more than `most_waiting` updates wait, the newest are dropped and counted.

    Raises:
        ValueError: A value is out of its range.
    """

    url: str | None = None
    secret: str | None = None
    verify_token: str | None = None
    waba_id: str = "102290129340398"
    display_phone_number: str = "15550783881"
    seed: int = 0

    sent_ms: float = 100.0
    delivered_ms: float = 300.0
    read_ms: float = 1000.0
    failed_ms: float = 300.0
    jitter_ms: float = 0.0
    is_shuffled: bool = False

    read: float = 1.0
    failed: float = 0.0
    failed_code: int = 131026
    is_sent_before_failed: bool = False
    lost_sent: float = 0.0
    lost_delivered: float = 0.0
    lost_read: float = 0.0
    lost_failed: float = 0.0
    lost_messages: float = 0.0
    duplicates: float = 0.0

    has_recipient_id: bool = True
    has_conversation: bool = False
    template_category: str = "utility"

    batch_most: int = 100
    batch_ms: float = 10.0
    connections: int = 8
    timeout_ms: float = 10_000.0
    retry_ms: float = 1000.0
    retry_growth: float = 2.0
    retry_most_ms: float = 60_000.0
    tries_most: int = 50
    give_up_s: float = WEEK_S
    most_waiting: int = 200_000

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if name in SHARES and not 0 <= value <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {value!r}")
            if name.endswith(("_ms", "_s")) and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} is not below zero, not {value!r}")
            if name in {"connections", "tries_most", "most_waiting"} and value < 1:
                raise ValueError(f"{name} is at least 1, not {value!r}")
        if not 1 <= self.batch_most <= MOST_UPDATES:
            raise ValueError(f"batch_most lies between 1 and {MOST_UPDATES}, not {self.batch_most!r}")
        if not 1 <= self.retry_growth < math.inf or not self.timeout_ms:
            raise ValueError("retry_growth is at least 1, and timeout_ms is above zero")
        if self.url is not None:
            _check_url(self.url)

    @classmethod
    def parse(cls, flags: Iterable[str]) -> Self:
        """The settings of flags of the form NAME=VALUE.

        Raises:
            ValueError: There is no such setting, or a value is out of its range.
        """
        values: dict[str, object] = {}
        for flag in flags:
            name, equals, text = flag.partition("=")
            if not equals:
                raise ValueError(f"--webhook {flag!r}: write NAME=VALUE, such as url=http://127.0.0.1:8080/webhook")
            if name not in WEBHOOK_FIELDS:
                raise ValueError(f"no webhook setting {name!r}; there is {', '.join(WEBHOOK_FIELDS)}")
            values[name] = _parse_value(name, text)
        return cls(**values)  # type: ignore[arg-type]  # parsed by the fields' own types


WEBHOOK_FIELDS = get_type_hints(WebhookSettings)


def _parse_value(name: str, text: str) -> object:
    kind = WEBHOOK_FIELDS[name]
    if kind is bool:
        if text not in {"true", "false"}:
            raise ValueError(f"{name} is true or false, not {text!r}")
        return text == "true"
    if kind not in (int, float):
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise ValueError(f"{name} is a number, not {text!r}") from None


def _check_url(url: str) -> None:
    try:
        scheme = Url.parse(url).scheme
    except ValueError as exc:
        raise ValueError(f"not a webhook URL: {url!r} ({exc})") from None
    if scheme not in {"http", "https"}:
        raise ValueError(f"a webhook URL begins with http:// or https://, not {url!r}")


def check_latency(latency_ms: float, jitter_ms: float) -> None:
    """See that answers do not come before their requests.

    Raises:
        ValueError: One is below zero.
    """
    if latency_ms < 0 or jitter_ms < 0:
        raise ValueError("latency and jitter are not below zero")


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

    numbers: Mapping[str, SimulatedNumber] = field(default_factory=dict)
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
        window_size(self.rate)
        if self.limit_status not in {400, 429}:
            raise ValueError(f"limit errors have the status 400 or 429, not {self.limit_status}")
        check_latency(self.latency_ms, self.jitter_ms)
