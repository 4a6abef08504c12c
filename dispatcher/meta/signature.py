"""Who signed a webhook. Pure; knows no HTTP."""

import hashlib
import hmac
import re
from collections.abc import Sequence

_HEADER = re.compile(r"sha256=([0-9a-f]{64})")  # in lower case, as Meta writes it


def is_signed(body: bytes, header: str | None, secrets: Sequence[bytes]) -> bool:
    """Whether `X-Hub-Signature-256` is that of the raw body under one of the app's secrets.

    All secrets are tried, so that the time says nothing of which one fits. An empty secret signs nothing: anybody knows
    it. Any header is taken, and nothing but the exact form is right.
    """
    found = _HEADER.fullmatch(header or "")
    if found is None:
        return False
    matches = [
        hmac.compare_digest(hmac.new(secret, body, hashlib.sha256).hexdigest(), found[1])
        for secret in secrets
        if secret
    ]
    return any(matches)
