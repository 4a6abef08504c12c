"""Which numbers there are, whose token opens them, and what each may send."""

from dispatcher.simulator.answers import Decision
from dispatcher.simulator.codes import status_of
from dispatcher.simulator.limits import RateWindow
from dispatcher.simulator.settings import SimulatedNumber, SimulatorSettings

NO_TOKEN = 104
BAD_TOKEN = 190
INVALID = 100
NO_SUCH_OBJECT = 33


class Sender:
    """One number with its token and its window."""

    __slots__ = ("display_phone_number", "latency_ms", "token", "waba_id", "window")

    def __init__(self, rate: float) -> None:
        self.window = RateWindow(rate)
        self.token: str | None = None
        self.latency_ms: float | None = None
        self.waba_id: str | None = None
        self.display_phone_number: str | None = None


class Senders:
    """The numbers of a simulator. One that was started without any takes every id for a number."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._takes_any = not settings.numbers
        self._senders: dict[str, Sender] = {}
        for number, value in settings.numbers.items():
            self.add(number, value)

    def add(self, number: str, value: SimulatedNumber) -> None:
        """A new number, or new values for a known one, whose window goes on."""
        rate = self._settings.rate if value.rate is None else value.rate
        sender = self._senders.get(number)
        if sender is None:
            sender = self._senders[number] = Sender(rate)
        else:
            sender.window.retune(rate)
        sender.token = self._settings.token if value.token is None else value.token
        sender.latency_ms = value.latency_ms
        sender.waba_id, sender.display_phone_number = value.waba_id, value.display_phone_number

    def find(self, number: str) -> Sender | None:
        """The sender with this id."""
        sender = self._senders.get(number)
        if sender is None and self._takes_any:
            self.add(number, SimulatedNumber())
        return self._senders.get(number)

    def refuse(self, number: str, sender: Sender | None, token: str | None) -> Decision | None:
        """Why this token may not use this number, if so. `token` is None if there is none, "" if it is broken."""
        if token is None:
            return _unauthorized(NO_TOKEN)
        if sender is not None and token and sender.token in (None, token):
            return None
        if not self._is_known(token):
            return _unauthorized(BAD_TOKEN)
        return Decision(
            "unknown_number",
            400,
            INVALID,
            NO_SUCH_OBJECT,
            f"Unsupported post request. Object with ID '{number}' does not exist, cannot be loaded due to missing "
            "permissions, or does not support this operation",
        )

    def _is_known(self, token: str) -> bool:
        if not token:
            return False
        known = {self._settings.token} | {sender.token for sender in self._senders.values()}
        return token in known or None in known


def _unauthorized(code: int) -> Decision:
    return Decision("unauthorized", status_of(code, 400), code)
