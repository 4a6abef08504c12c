"""Delivers webhooks: gathers updates into bodies, signs them, and posts each again and again until it is answered 200.

Also verifies a receiver's URL, as Meta does when one is entered. Looks into no update.
"""

import asyncio
import hashlib
import heapq
import hmac
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import count
from urllib.parse import urlencode

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError

from dispatcher.simulator.ledger import WebhookCounts
from dispatcher.simulator.settings import WebhookSettings
from dispatcher.simulator.updates import encode

USER_AGENT = "facebookexternalua"
# Meta's limit is 3 MB; what surrounds the updates has its share.
LARGEST_BODY = 2_900_000
# Of a longer answer only the beginning is read.
LARGEST_ANSWER = 65_536
# How much is done in one turn of the loop, and how long the next turn waits at least: nothing else waits long.
MOST_AT_ONCE = 50
TICK_S = 0.001


class Scheduler:
    """Calls what it was given when it is due, in that order, on one timer. Use within a running event loop."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._places = count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do this after a while."""
        loop = asyncio.get_running_loop()
        entry = (loop.time() + delay_s, next(self._places), do)
        heapq.heappush(self._entries, entry)
        if self._entries[0] is entry or self._timer is None:
            self._set_timer()

    def clear(self) -> None:
        """Do nothing of it."""
        self._entries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(self._entries[0][0], loop.time() + TICK_S), self._run_due)

    def _run_due(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        for _ in range(MOST_AT_ONCE):
            if not self._entries or self._entries[0][0] > now_s:
                break
            _, _, do = heapq.heappop(self._entries)
            do()
        if self._entries and self._timer is None:
            self._set_timer()


@dataclass(slots=True)
class QueuedWebhook:
    """One webhook on its way: bytes that never change, how many updates it settles, and how often it was tried."""

    body: bytes
    signature: str | None
    update_count: int
    tries: int = 0
    first_s: float = 0.0


class UpdateBatch:
    """The updates of one body: statuses by number, and other changes, under the account they belong to."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[str, str, str], list[bytes]] = {}
        self._changes: dict[str, list[bytes]] = {}
        self.size_bytes = 0
        self.update_count = 0

    def add_status(self, place: tuple[str, str, str], status: bytes) -> None:
        """One status; `place` is the account's id, the number's, and the number as people read it."""
        self._statuses.setdefault(place, []).append(status)
        self._count(status)

    def add_change(self, waba_id: str, change: bytes) -> None:
        """One whole entry of `changes`."""
        self._changes.setdefault(waba_id, []).append(change)
        self._count(change)

    def _count(self, update: bytes) -> None:
        self.size_bytes += len(update) + 1
        self.update_count += 1

    def body(self) -> bytes:
        """The body, whole."""
        changes: dict[str, list[bytes]] = {}
        for (waba_id, number, phone), statuses in self._statuses.items():
            changes.setdefault(waba_id, []).append(_change_of_statuses(number, phone, statuses))
        for waba_id, others in self._changes.items():
            changes.setdefault(waba_id, []).extend(others)
        entries = [
            b'{"id":%b,"changes":[%b]}' % (encode(waba_id), b",".join(inner)) for waba_id, inner in changes.items()
        ]
        return b'{"object":"whatsapp_business_account","entry":[%b]}' % b",".join(entries)

    def sign(self, secret: str | None) -> QueuedWebhook:
        """The webhook that it becomes; without a secret it is not signed."""
        body = self.body()
        signature = None if secret is None else hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return QueuedWebhook(body, signature, self.update_count)


def _change_of_statuses(number: str, phone: str, statuses: list[bytes]) -> bytes:
    return (
        b'{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":%b,"phone_number_id":%b},'
        b'"statuses":[%b]},"field":"messages"}'
    ) % (encode(phone), encode(number), b",".join(statuses))


class Batcher:
    """Closes a batch when it is full, or old enough. `on_closed` gets each batch that is closed."""

    def __init__(self, scheduler: Scheduler, on_closed: Callable[[UpdateBatch], None]) -> None:
        self._scheduler = scheduler
        self._on_closed = on_closed
        self._open: UpdateBatch | None = None

    def room(self, settings: WebhookSettings, size_bytes: int) -> UpdateBatch:
        """The batch that takes an update of this size; add it at once, then call `added`."""
        if self._open is not None and self._open.size_bytes + size_bytes > LARGEST_BODY:
            self._close(self._open)
        if self._open is None:
            batch = self._open = UpdateBatch()
            self._scheduler.add(settings.batch_ms / 1000, lambda: self._close(batch))
        return self._open

    def added(self, settings: WebhookSettings) -> None:
        """An update was added."""
        if self._open is not None and self._open.update_count >= settings.batch_most:
            self._close(self._open)

    def clear(self) -> None:
        """Forget what gathers."""
        self._open = None

    def _close(self, batch: UpdateBatch) -> None:
        if batch is self._open:
            self._open = None
            self._on_closed(batch)


class WebhookDelivery:
    """Tries each webhook in a task of its own, several at a time. `on_ended` gets each that is delivered or given up.

    Use within a running event loop. `stop` leaves no task behind, but the connection of a request that hangs ends only
    with its timeout: the client cannot break it off.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        counts: WebhookCounts,
        scheduler: Scheduler,
        on_ended: Callable[[QueuedWebhook], None],
    ) -> None:
        self._settings = settings
        self._counts = counts
        self._scheduler = scheduler
        self._on_ended = on_ended
        self._queue: deque[QueuedWebhook] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Client | None = None

    def start(self) -> None:
        """Begin."""
        self._client = (
            ClientBuilder()
            .user_agent(USER_AGENT)
            .follow_redirects(False)  # Meta takes a redirect for a refusal
            .no_proxy()
            # Answers are not looked into, and none shall grow.
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .build()
        )

    async def stop(self) -> None:
        """Drop everything."""
        self._queue.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    def change(self, settings: WebhookSettings) -> None:
        """Other settings from now on; what is under way goes on as it began."""
        self._settings = settings
        self._start_tasks()

    def put(self, webhook: QueuedWebhook) -> None:
        """Take a webhook on its way."""
        self._counts.queued += 1
        self._enqueue(webhook)

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Send a request and wait for its answer, for as long as the settings say: its status and body.

        Raises:
            ConnectionError: There is no whole answer.
        """
        if self._client is None:
            raise ConnectionError("the simulator does not run")
        request = self._client.request(method, url).headers(headers)
        if body:
            request = request.body_bytes(body)
        timeout = timedelta(milliseconds=self._settings.timeout_ms)
        try:
            async with request.timeout(timeout).build_streamed() as answer:
                return answer.status, bytes(await answer.body_reader.read(LARGEST_ANSWER) or b"")
        except PyreqwestError as exc:
            raise ConnectionError(_cause_of(exc)) from exc

    def _enqueue(self, webhook: QueuedWebhook) -> None:
        self._queue.append(webhook)
        self._start_tasks()

    def _start_tasks(self) -> None:
        while self._queue and self._settings.url and len(self._tasks) < self._settings.connections:
            deliver = self._deliver(self._queue.popleft(), self._settings.url)
            task = asyncio.get_running_loop().create_task(deliver)
            self._tasks.add(task)
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()
            self._start_tasks()

    async def _deliver(self, webhook: QueuedWebhook, url: str) -> None:
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        webhook.first_s = webhook.first_s or began_s
        webhook.tries += 1
        self._counts.retried += webhook.tries > 1
        headers = {"Content-Type": "application/json"}
        if webhook.signature is not None:
            headers["X-Hub-Signature-256"] = f"sha256={webhook.signature}"
        try:
            status, _ = await self.ask("POST", url, headers, webhook.body)
        except ConnectionError:
            status = None
        self._counts.answer(status, (now_s() - began_s) * 1000)
        if status == 200:
            self._counts.delivered += 1
            self._end(webhook)
        else:
            self._try_again(webhook, now_s())

    def _try_again(self, webhook: QueuedWebhook, now_s: float) -> None:
        settings = self._settings
        delay_s = retry_pause_ms(settings, webhook.tries) / 1000
        if webhook.tries >= settings.tries_most or now_s + delay_s - webhook.first_s > settings.give_up_s:
            self._counts.given_up += 1
            self._end(webhook)
        else:
            self._scheduler.add(delay_s, lambda: self._enqueue(webhook))

    def _end(self, webhook: QueuedWebhook) -> None:
        self._counts.queued -= 1
        self._on_ended(webhook)


def retry_pause_ms(settings: WebhookSettings, tries: int) -> float:
    """How long to wait after so many tries: not at all after the first, then longer and longer."""
    if tries < 2:
        return 0.0
    # A power that large is beyond any pause, and beyond what a float holds.
    growth: float = settings.retry_growth ** min(tries - 2, 64)
    return min(settings.retry_ms * growth, settings.retry_most_ms)


def _cause_of(exc: PyreqwestError) -> str:
    """The innermost cause, which says most: who reads it is told of a refusal or a timeout."""
    causes = (exc.details["causes"] or ()) if isinstance(exc, DetailedPyreqwestError) else ()
    return str(causes[-1]["message"]) if causes else str(exc)


@dataclass(frozen=True, slots=True)
class Verification:
    """How the verification of a URL went; `problem` says in words why not."""

    is_verified: bool
    status: int | None = None
    problem: str | None = None

    def report(self) -> dict[str, object]:
        """The same, ready for JSON."""
        return asdict(self)


async def verify(delivery: WebhookDelivery, url: str, token: str) -> Verification:
    """Ask a receiver for a challenge, once."""
    challenge = str(secrets.randbelow(2**31))
    query = urlencode({"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": token})
    try:
        status, body = await delivery.ask("GET", f"{url}{'&' if '?' in url else '?'}{query}", {})
    except ConnectionError as exc:
        return Verification(is_verified=False, problem=str(exc))
    if status != 200:
        return Verification(is_verified=False, status=status, problem="the status is not 200")
    if body != challenge.encode():
        return Verification(is_verified=False, status=200, problem="the body is not the challenge")
    return Verification(is_verified=True, status=200)
