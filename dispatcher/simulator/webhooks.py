"""All webhooks of a simulator: what happened goes in, statuses and inbound messages go out."""

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

from dispatcher.simulator.codes import PAUSED_TEMPLATE
from dispatcher.simulator.ledger import WebhookCounts
from dispatcher.simulator.send_request import SendRequest
from dispatcher.simulator.senders import Senders
from dispatcher.simulator.settings import WebhookSettings
from dispatcher.simulator.updates import (
    FAILED,
    AcceptedMessage,
    Change,
    PlannedStatus,
    StatusPlanner,
    StatusUpdate,
    encode,
    inbound_preference,
    inbound_text,
    throughput_of,
)
from dispatcher.simulator.webhook_delivery import (
    Batcher,
    QueuedWebhook,
    Scheduler,
    UpdateBatch,
    Verification,
    WebhookDelivery,
    verify,
)


class OutgoingWebhooks:
    """Sends webhooks while there is a URL. Use within a running event loop."""

    def __init__(self, settings: WebhookSettings, senders: Senders, counts: WebhookCounts) -> None:
        self.settings = settings
        self.counts = counts
        self._senders = senders
        self._planner = StatusPlanner(settings.seed)
        self._scheduler = Scheduler()
        self._batcher = Batcher(self._scheduler, self._deliver)
        self._delivery = WebhookDelivery(settings, counts, self._scheduler, self._ended)
        self._held_templates: set[str] = set()
        self._held: dict[str, list[AcceptedMessage]] = {}
        self._is_settled = asyncio.Event()
        self._is_settled.set()
        self._verifying: asyncio.Task[Verification] | None = None

    def start(self) -> None:
        """Begin with nothing that waits; verify the URL if there is a token for it, the outcome is in the ledger."""
        self._delivery.start()
        self.counts.waiting = self.counts.queued = 0
        self._is_settled.set()
        if self.settings.url is not None and self.settings.verify_token is not None:
            self._verifying = asyncio.get_running_loop().create_task(self.verify())

    async def stop(self) -> None:
        """Send no more. What waited stays in the counts."""
        if self._verifying is not None:
            self._verifying.cancel()
            await asyncio.gather(self._verifying, return_exceptions=True)
        self._scheduler.clear()
        self._batcher.clear()
        await self._delivery.stop()

    def change(self, **values: Any) -> None:
        """Other settings from now on; what was drawn already stays so.

        Raises:
            ValueError: A value is out of its range.
        """
        self.settings = replace(self.settings, **values)
        if "seed" in values:
            self._planner = StatusPlanner(self.settings.seed)
        self._delivery.change(self.settings)

    async def verify(self, token: str | None = None) -> Verification:
        """Do as Meta does when a URL is entered: ask it for a challenge, once.

        Raises:
            ValueError: There is no URL, or no token.
        """
        token = self.settings.verify_token if token is None else token
        if self.settings.url is None or token is None:
            raise ValueError("there is no url, or no verify_token")
        found = await verify(self._delivery, self.settings.url, token)
        self.counts.verification = found.report()
        return found

    async def settled(self, timeout_s: float = 10.0) -> bool:
        """Wait until nothing waits any more: all is delivered, lost or given up. Whether it came to that.

        Messages of held templates are not waited for.
        """
        try:
            await asyncio.wait_for(self._is_settled.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    # What happens to messages.

    def accepted(self, post: SendRequest, wamid: str, *, is_held: bool) -> None:
        """A message was accepted, whatever its sender was told."""
        if self.settings.url is None:
            return
        message = AcceptedMessage(
            wamid,
            post.number,
            post.to,
            is_user_id=post.is_user_id,
            is_template=bool(post.template),
            is_reaction=post.kind == "reaction",
            callback_data=post.callback_data,
        )
        if not is_held:
            self._plan(message, self._planner.plan(self.settings, is_reaction=message.is_reaction))
        elif self._has_room(1):
            self.counts.held += 1
            self._held.setdefault(post.template, []).append(message)

    def hold(self, template: str) -> None:
        """Its messages are held from now on: accepted, but without a status until they are released or dropped."""
        self._held_templates.add(template)

    def holds(self, template: str) -> bool:
        """Whether this template is held."""
        return template in self._held_templates

    def release(self, template: str) -> int:
        """Hold it no more; the statuses of its held messages flow after all. Says how many messages that were."""
        held = self._unhold(template)
        for message in held:
            self._plan(message, self._planner.plan(self.settings, is_reaction=False))
        return len(held)

    def drop(self, template: str, code: int = PAUSED_TEMPLATE) -> int:
        """Hold it no more; its held messages fail. Says how many messages that were."""
        held = self._unhold(template)
        for message in held:
            self._plan(message, [self._planner.plan_failure(self.settings)], code)
        return len(held)

    def receive_text(self, number: str, person: str, body: str) -> None:
        """A user sends a text to a number."""
        self.receive(inbound_text((number, self._place(number)[2]), person, body, int(time.time())))

    def receive_preference(self, number: str, person: str, value: str) -> None:
        """A user stops or resumes marketing messages of a number.

        Raises:
            ValueError: The value is neither `stop` nor `resume`.
        """
        self.receive(inbound_preference((number, self._place(number)[2]), person, value, int(time.time())))

    def receive(self, change: Change, waba_id: str | None = None) -> None:
        """Any entry of `changes` comes in. Inbound messages use up their number's throughput, as at Meta.

        Raises:
            TypeError: It has not the shape of a change.
        """
        number, count = throughput_of(change)
        sender = self._senders.find(number) if count else None
        if sender is not None:
            for _ in range(count):
                sender.window.charge(time.monotonic_ns())
        self.counts.inbound += count
        if self.settings.url is None or not self._has_room(1):
            return
        self._wait(1)
        update = encode(change)
        batch = self._batcher.room(self.settings, len(update))
        batch.add_change(waba_id or self._place(number)[0], update)
        self._batcher.added(self.settings)

    # From a message to its webhooks.

    def _plan(self, message: AcceptedMessage, planned: list[PlannedStatus], code: int | None = None) -> None:
        settings, kept = self.settings, []
        is_lost = self._planner.hits(settings.lost_messages)
        self.counts.lost_messages += is_lost
        for status in planned:
            if is_lost or self._planner.is_lost(settings, status.kind):
                self.counts.lost[status.kind] += 1
            else:
                kept.append(status)
        if not self._has_room(len(kept)):
            return
        self._wait(len(kept))
        now = time.time()
        for status in kept:
            failed_code = (code or settings.failed_code) if status.kind == FAILED else 0
            update = StatusUpdate(message, status.kind, int(now + status.happened_s), status.is_priced, failed_code)
            self._scheduler.add(status.due_s, partial(self._due, update))

    def _due(self, status: StatusUpdate) -> None:
        self.counts.statuses[status.kind] += 1
        update = status.render(self.settings)
        batch = self._batcher.room(self.settings, len(update))
        batch.add_status(self._place(status.message.number), update)
        self._batcher.added(self.settings)

    def _deliver(self, batch: UpdateBatch) -> None:
        webhook = batch.sign(self.settings.secret)
        self.counts.made += 1
        self._delivery.put(webhook)
        if self._planner.hits(self.settings.duplicates):
            self.counts.duplicated += 1
            self._delivery.put(replace(webhook, update_count=0, tries=0, first_s=0.0))

    def _ended(self, webhook: QueuedWebhook) -> None:
        self.counts.waiting -= webhook.update_count
        if not self.counts.waiting and not self.counts.queued:
            self._is_settled.set()

    def _has_room(self, count: int) -> bool:
        if self.counts.waiting + self.counts.held + count <= self.settings.most_waiting:
            return True
        self.counts.dropped += count
        return False

    def _wait(self, count: int) -> None:
        self.counts.waiting += count
        if count:
            self._is_settled.clear()

    def _unhold(self, template: str) -> list[AcceptedMessage]:
        self._held_templates.discard(template)
        held = self._held.pop(template, [])
        self.counts.held -= len(held)
        return held

    def _place(self, number: str) -> tuple[str, str, str]:
        """The account's id, the number's, and the number as people read it."""
        sender = self._senders.find(number) if number else None
        waba_id = (sender and sender.waba_id) or self.settings.waba_id
        phone = (sender and sender.display_phone_number) or self.settings.display_phone_number
        return waba_id, number, phone
