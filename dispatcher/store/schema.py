"""A cell: the names of everything it keeps in Redis, and what its scripts must know. Touches no Redis.

| key under `dispatch:{cell}:` | type | holds |
| --- | --- | --- |
| `schema` | string | in which form all this is, see `SCHEMA` |
| `lane:<number>:<priority 0-2>` | zset | key -> when it is due, µs |
| `msg:<key>` | hash, packed string once settled | the record of a message, see `lua/shared/message.lua` |
| `body:<key>` | string | the JSON object to POST without its last brace |
| `extra:<key>` | string | JSON: the producer's callback_data and trace, where given |
| `sending`, `uncertain`, `expiry`, `dead` | zset | key -> end of lease, when to decide, end of its time, when it died |
| `parked`, `parked:<scope>` | set, zset | scopes with parked messages; key -> when it was due |
| `gate:<number>` | hash | owner, rate and when its file was written, tokens and their time, last claim, block, probe |
| `batch:<number>:<owner>` | string | sequence and keys of the owner's last claim that brought any, for a minute |
| `due` | zset | number -> when it needs serving, or the end of its lease |
| `stops` | hash | scope -> JSON: action, reason, by, since, until |
| `counts` | hash | what happened, `name|label|…` -> how often; see `lua/shared/message.lua` |
| `campaign:<name>` | hash | `queued`: messages it ever had; and how many are settled, by state |
| `campaigns` | zset | campaign -> its last activity, µs, give or take 15 messages |
| `numbers`, `names` | hash | number -> JSON: name, waba; name -> number, or several that share it |
| `processes`, `serves:<process>` | zset, hash | process -> its last word, µs; number -> fingerprint of its token |
| `events` | stream | every outcome and receipt, capped by age |
| `webhooks` | stream | webhook bodies that are not worked off; the first entry is the oldest |
| `forward:<URL's hash>` | stream | webhook bodies that are not passed on to that URL |
| `forwards` | hash | URL's hash -> when a process last knew it, µs |
| `door` | hash | `gap` and `seen`: when the webhook door last may have missed something, and last was open, µs |
| `doors` | zset | process of the door -> its last beat, µs |
| `witness:<number>` | hash | template or '' -> latest claim that a receipt has come for, µs |
| `held` | hash | template -> when Meta last held it back, µs |
| `suppressed:<waba>:<category>`, `wanted:…` | hash | recipient -> since (s) and why; -> when it was wanted again |
| `same:<phone>` | string | the phone that we know a recipient by whom Meta names otherwise |
| `inbound`, `updates` | stream | what people wrote; news of templates, qualities, accounts |
| `heard:<id>` | string | an inbound message or a piece of news that was passed on |
| `unreadable` | list | parts of webhooks that could not be read, capped |
| `refused` | list | jobs of arq producers that could not be read, capped |
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from dispatcher.message.priority import Priority

if TYPE_CHECKING:
    from dispatcher.settings import Settings

SCHEMA: Final = 1
"""What this release writes; workers and the API write it into a cell that has none, or that of an earlier release.

It is raised where data gets a form that the release before cannot read: not for a field that is appended, which that
one keeps. A release reads the schema of the next one before any release writes it, so that two may run side by side.
"""
SCHEMA_KNOWN: Final = 1
"""The highest that this release can read; no connection to a cell with a higher one is used."""

US: Final = 1_000_000
"""Redis's clock counts µs."""
PROCESS_ALIVE_S: Final = 10
"""A process that has said nothing for so long is gone; it speaks once a second."""
DOOR_SILENT_S: Final = 2
"""Each process of the webhook door says twice a second that it is there.

One that is silent for longer may miss what nobody knows of: nothing is decided by absence meanwhile, and its next beat,
or that of another, marks a gap. A beat that is late on a busy machine does the same, which delays decisions and proves
nothing false.
"""
LANES: Final = tuple(priority.value for priority in Priority)
"""Urgent first, as claims serve them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, as every process of it must see it: its name, leases and windows by lane (urgent first), in seconds.

    A producer does not know how long the cell keeps its events: with None it drops none.
    """

    name: str = "main"
    events_kept_s: float | None = None
    uncertain_window_s: tuple[float, float, float] = (10, 60, 60)
    number_lease_s: float = 4
    message_lease_s: tuple[float, float, float] = (13, 22, 22)

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return the cell that a process works in, by its settings."""
        urgent, normal, bulk = (settings.message_lease_s(priority) for priority in Priority)
        window_s = settings.uncertain_window_s
        return cls(
            settings.cell,
            settings.events_kept_s,
            (settings.uncertain_window_urgent_s, window_s, window_s),
            settings.number_lease_s,
            (urgent, normal, bulk),
        )

    @property
    def prefix(self) -> str:
        """What all keys of the cell begin with; one hash tag, so that a script may touch any of them."""
        return f"dispatch:{{{self.name}}}:"

    def key(self, name: str) -> str:
        """Name a key of the whole cell, such as `due` or `events`."""
        return f"dispatch:{{{self.name}}}:{name}"

    def lane(self, number: str, lane: int) -> str:
        """Name a lane; 0 is urgent."""
        return self.key(f"lane:{number}:{lane}")

    def lanes(self, number: str) -> list[str]:
        """Name all lanes of a number, urgent first."""
        return [self.lane(number, lane) for lane in range(len(LANES))]

    def gate(self, number: str) -> str:
        """Name a number's gate."""
        return self.key(f"gate:{number}")

    def serves(self, process: str) -> str:
        """Name what says which numbers a process can serve."""
        return self.key(f"serves:{process}")

    @property
    def intake(self) -> str:
        """The arq queue that any arq producer may put `send` jobs on."""
        return "dispatcher:send" if self.name == "main" else f"dispatcher:{self.name}:send"
