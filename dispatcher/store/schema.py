"""The names of everything that a cell keeps in Redis.

| key under `dispatch:{cell}:` | type | holds |
| --- | --- | --- |
| `lane:<number>:<priority 0-2>` | zset | key -> when it is due, µs |
| `msg:<key>` | hash, packed string once settled | the record of a message, see `lua/record.lua` |
| `body:<key>` | string | the JSON object to POST without its last brace |
| `extra:<key>` | string | JSON: the producer's callback_data and trace, where given |
| `sending`, `uncertain`, `expiry`, `dead` | zset | key -> end of lease, when to decide, end of its time, when it died |
| `parked`, `parked:<scope>` | set, zset | scopes with parked messages; key -> when it was due |
| `gate:<number>` | hash | owner, rate and when its file was written, tokens and their time, last claim, block, probe |
| `batch:<number>:<owner>` | string | sequence and keys of the owner's last claim that brought any, for a minute |
| `due` | zset | number -> when it needs serving, or the end of its lease |
| `stops` | hash | scope -> JSON: action, reason, by, since, until |
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

PRIORITIES = 3


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one cell; one hash tag, so that a script may touch any of them."""

    cell: str = "main"

    @property
    def prefix(self) -> str:
        """What all keys of the cell begin with."""
        return f"dispatch:{{{self.cell}}}:"

    def __call__(self, name: str) -> str:
        """Name a key that stands for the whole cell, such as `due` or `events`."""
        return self.prefix + name

    def lane(self, number: str, priority: int) -> str:
        """Name a lane; 0 is urgent."""
        return f"{self.prefix}lane:{number}:{priority}"

    def lanes(self, number: str) -> list[str]:
        """Name all lanes of a number, urgent first."""
        return [self.lane(number, priority) for priority in range(PRIORITIES)]

    def gate(self, number: str) -> str:
        """Name a number's gate."""
        return f"{self.prefix}gate:{number}"

    def batch(self, number: str, owner: str) -> str:
        """Name what an owner's last claim brought."""
        return f"{self.prefix}batch:{number}:{owner}"

    def serves(self, process: str) -> str:
        """Name what says which numbers a process can serve."""
        return f"{self.prefix}serves:{process}"

    @property
    def intake(self) -> str:
        """The arq queue that any arq producer may put `send` jobs on."""
        return "dispatcher:send" if self.cell == "main" else f"dispatcher:{self.cell}:send"
