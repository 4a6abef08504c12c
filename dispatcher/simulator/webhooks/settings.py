"""How webhooks behave: plain values, each of which may change while the simulator runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self, get_type_hints
from urllib.parse import urlsplit

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
class WebhookSettings:
    """Where webhooks go, and what becomes of them. Without `url` there are none.

    With `secret` they are signed, with `verify_token` the URL is verified at the start. `waba_id` and
    `display_phone_number` are those of numbers that have none of their own.

    A status comes so many ms after its message was accepted (`sent_ms`, `delivered_ms`, `read_ms`, `failed_ms`) and up
    to `jitter_ms` more, never before the one it follows, unless `is_shuffled`; with several `connections` they may
    overtake each other all the same. Shares lie between 0 and 1: `read` of the messages that did not fail, `failed`
    (with `failed_code`, and after a `sent` if `is_sent_before_failed`), `lost_sent` and its like of the statuses,
    `lost_messages` of the messages, all of whose statuses are lost, `duplicates` of the webhooks, which are sent twice.

    A webhook carries up to `batch_most` updates, which gather for `batch_ms`. What is not answered 200 within
    `timeout_ms` is tried again at once, then after `retry_ms` and `retry_growth` times longer each time, up to
    `retry_most_ms`, until it was tried `tries_most` times or `give_up_s` have passed. More than `most_waiting` updates
    do not wait: the newest are dropped, and counted.

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
    def of(cls, texts: Mapping[str, str]) -> Self:
        """The settings that a command line says.

        Raises:
            ValueError: There is no such setting, or a value is out of its range.
        """
        values: dict[str, object] = {}
        for name, text in texts.items():
            if name not in FIELDS:
                raise ValueError(f"no webhook setting {name!r}; there is {', '.join(FIELDS)}")
            values[name] = _read(name, text)
        return cls(**values)  # type: ignore[arg-type]  # read by the fields' own types


FIELDS = get_type_hints(WebhookSettings)


def _read(name: str, text: str) -> object:
    kind = FIELDS[name]
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
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii() or " " in url:
        raise ValueError(f"a webhook URL begins with http:// or https:// and names a host, not {url!r}")
    _ = parts.port  # raises a ValueError if it is none
