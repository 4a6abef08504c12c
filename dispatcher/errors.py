"""The errors a caller may catch; expected results of a send are outcomes, not exceptions.

    DispatcherError
    ├── Refused            the message or command cannot be taken: `field`, `reason`, `key`
    │   ├── ContentError   the content is wrong: `problems`; also a ValueError, see `content`
    │   ├── KeyConflict    the key is known with other content
    │   └── UnknownNumber  no such number in this cell
    ├── QueueUnavailable   Redis did not answer, or lost the answer: `key`; safe to send again with that key
    │   ├── QueueFull      Redis has no room for this lane
    │   ├── QueueBroken    Redis answered that its data is not what it should be
    │   └── UnknownSchema  the cell's data is of a later release: upgrade this process
    └── SettingsError      what is wrong with the settings, all of it at once: `problems`

Every class is plain and takes its fields by position, so that it can be pickled.
"""


class DispatcherError(Exception):
    """What all errors of this package have in common."""


class Refused(DispatcherError):  # noqa: N818 - a caller reads `except Refused`
    """The message cannot be taken as it is; nothing was queued. Sending it again unchanged fails again."""

    def __init__(self, field: str, reason: str, key: str | None = None) -> None:
        super().__init__(field, reason, key)
        self.field = field
        self.reason = reason
        self.key = key

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class KeyConflict(Refused):
    """The key is known with another recipient or other content; the first message stands."""


class UnknownNumber(Refused):
    """No number of this cell has that id or name."""


class QueueUnavailable(DispatcherError):  # noqa: N818 - as above
    """Redis did not answer. The message may be queued: send it again with the same `key`, which is recognised."""

    def __init__(self, reason: str, key: str | None = None) -> None:
        super().__init__(reason, key)
        self.reason = reason
        self.key = key

    def __str__(self) -> str:
        return f"{self.reason} (key {self.key})" if self.key else self.reason


class QueueFull(QueueUnavailable):
    """Redis is too full for this lane; nothing was queued."""


class QueueBroken(QueueUnavailable):
    """Redis is there, but a script met data of a kind that this package does not write; asking again does not help."""


class UnknownSchema(QueueUnavailable):
    """The cell's data is of a later release; nothing was read or written. Upgrade this process."""


class SettingsError(DispatcherError):
    """Settings or the numbers file are wrong; `problems` names each with what would be right."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)
