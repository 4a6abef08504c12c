"""Flags of the form NAME=VALUE, of which there is one for each fault and each webhook setting."""

from collections.abc import Iterable

from dispatcher.simulator.faults import KINDS, Faults
from dispatcher.simulator.webhooks.settings import WebhookSettings


def faults(given: Iterable[str], seed: int) -> Faults:
    """The faults of `--fault NAME=CHANCE`.

    Raises:
        ValueError: There is no such fault, or the chance is none.
    """
    chances: dict[str, float] = {}
    for flag in given:
        name, _, chance = flag.partition("=")
        if name not in KINDS:
            raise ValueError(f"no fault {name!r}; there is {', '.join(KINDS)}")
        try:
            chances[name] = float(chance)
        except ValueError:
            raise ValueError(f"--fault {flag!r}: write NAME=CHANCE, such as {name}=0.01") from None
    return Faults(seed=seed, **chances)


def webhooks(given: Iterable[str]) -> WebhookSettings:
    """The settings of `--webhook NAME=VALUE`.

    Raises:
        ValueError: There is no such setting, or a value is out of its range.
    """
    texts: dict[str, str] = {}
    for flag in given:
        name, equals, text = flag.partition("=")
        if not equals:
            raise ValueError(f"--webhook {flag!r}: write NAME=VALUE, such as url=http://127.0.0.1:8080/webhook")
        texts[name] = text
    return WebhookSettings.of(texts)
