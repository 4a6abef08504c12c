"""All webhooks of a simulator: what happened goes in, statuses and inbound messages go out; wires the parts."""

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

from dispatcher.simulator.post import Post
from dispatcher.simulator.senders import Numbers
from dispatcher.simulator.webhooks import inbound
from dispatcher.simulator.webhooks.batch import Batch, Batches, Delivery, deliver
from dispatcher.simulator.webhooks.courier import Courier
from dispatcher.simulator.webhooks.fate import FAILED, Fate, Step, lost_share
from dispatcher.simulator.webhooks.handshake import Verification, verify
from dispatcher.simulator.webhooks.settings import WebhookSettings
from dispatcher.simulator.webhooks.statuses import Message, Status, encode
from dispatcher.simulator.webhooks.tally import Tally
from dispatcher.simulator.webhooks.timetable import Timetable

PAUSED_TEMPLATE = 132015


class Webhooks:
    """Sends webhooks while there is a URL. Use within a running event loop; `stop` leaves nothing behind."""

    def __init__(self, settings: WebhookSettings, numbers: Numbers, tally: Tally) -> None:
        self.settings = settings
        self.tally = tally
        self._numbers = numbers
        self._fate = Fate(settings.seed)
        self._timetable = Timetable()
        self._batches = Batches(self._timetable, self._post)
        self._courier = Courier(settings, tally, self._timetable, self._done)
        self._held_templates: set[str] = set()
        self._held: dict[str, list[Message]] = {}
        self._is_settled = asyncio.Event()
        self._is_settled.set()
        self._verifying: asyncio.Task[Verification] | None = None

    def start(self) -> None:
        """Begin with nothing that waits; verify the URL if there is a token for it, the outcome is in the ledger."""
        self.tally.waiting = self.tally.queued = 0
        self._is_settled.set()
        if self.settings.url is not None and self.settings.verify_token is not None:
            self._verifying = asyncio.get_running_loop().create_task(self.verify())

    async def stop(self) -> None:
        """Send no more. What waited stays in the counts."""
        if self._verifying is not None:
            self._verifying.cancel()
            await asyncio.gather(self._verifying, return_exceptions=True)
        self._timetable.clear()
        self._batches.clear()
        await self._courier.stop()

    def change(self, **values: Any) -> None:
        """Other settings from now on; what was drawn already stays so.

        Raises:
            ValueError: A value is out of its range.
        """
        self.settings = replace(self.settings, **values)
        if "seed" in values:
            self._fate = Fate(self.settings.seed)
        self._courier.change(self.settings)

    async def verify(self, token: str | None = None) -> Verification:
        """Do as Meta does when a URL is entered: ask it for a challenge, once.

        Raises:
            ValueError: There is no URL, or no token.
        """
        token = self.settings.verify_token if token is None else token
        if self.settings.url is None or token is None:
            raise ValueError("there is no url, or no verify_token")
        found = await verify(self._courier, self.settings.url, token)
        self.tally.verification = found.report()
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

    def accepted(self, post: Post, wamid: str, *, is_held: bool) -> None:
        """A message was accepted, whatever its sender was told."""
        if self.settings.url is None:
            return
        message = Message(
            wamid,
            post.number,
            post.to,
            is_user_id=post.is_user_id,
            is_template=bool(post.template),
            is_reaction=post.kind == "reaction",
            callback_data=post.callback_data,
        )
        if not is_held:
            self._plan(message, self._fate.steps(self.settings, is_reaction=message.is_reaction))
        elif self._takes(1):
            self.tally.held += 1
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
            self._plan(message, self._fate.steps(self.settings, is_reaction=False))
        return len(held)

    def drop(self, template: str, code: int = PAUSED_TEMPLATE) -> int:
        """Hold it no more; its held messages fail. Says how many messages that were."""
        held = self._unhold(template)
        for message in held:
            self._plan(message, [self._fate.failure(self.settings)], code)
        return len(held)

    def receive_text(self, number: str, sender: str, body: str) -> None:
        """A user sends a text to a number."""
        self.receive(inbound.text((number, self._place(number)[2]), sender, body, int(time.time())))

    def receive_preference(self, number: str, sender: str, value: str) -> None:
        """A user stops or resumes marketing messages of a number.

        Raises:
            ValueError: The value is neither `stop` nor `resume`.
        """
        self.receive(inbound.preference((number, self._place(number)[2]), sender, value, int(time.time())))

    def receive(self, change: inbound.Change, waba_id: str | None = None) -> None:
        """Any entry of `changes` comes in. Inbound messages use up their number's throughput, as at Meta.

        Raises:
            TypeError: It has not the shape of a change.
        """
        number, count = inbound.counted(change)
        sender = self._numbers.find(number) if count else None
        if sender is not None:
            for _ in range(count):
                sender.window.charge(time.monotonic_ns())
        self.tally.inbound += count
        if self.settings.url is None or not self._takes(1):
            return
        self._wait(1)
        update = encode(change)
        batch = self._batches.room(self.settings, len(update))
        batch.add_change(waba_id or self._place(number)[0], update)
        self._batches.added(self.settings)

    # The way of an update.

    def _plan(self, message: Message, steps: list[Step], code: int | None = None) -> None:
        settings, kept = self.settings, []
        is_lost = self._fate.hits(settings.lost_messages)
        self.tally.lost_messages += is_lost
        for step in steps:
            if is_lost or self._fate.hits(lost_share(settings, step.kind)):
                self.tally.lost[step.kind] += 1
            else:
                kept.append(step)
        if not self._takes(len(kept)):
            return
        self._wait(len(kept))
        now = time.time()
        for step in kept:
            failed_code = (code or settings.failed_code) if step.kind == FAILED else 0
            status = Status(message, step.kind, int(now + step.happened_s), step.is_priced, failed_code)
            self._timetable.add(step.due_s, partial(self._due, status))

    def _due(self, status: Status) -> None:
        self.tally.statuses[status.kind] += 1
        update = status.render(self.settings)
        batch = self._batches.room(self.settings, len(update))
        batch.add_status(self._place(status.message.number), update)
        self._batches.added(self.settings)

    def _post(self, batch: Batch) -> None:
        delivery = deliver(batch, self.settings.secret)
        self.tally.made += 1
        self._courier.take(delivery)
        if self._fate.hits(self.settings.duplicates):
            self.tally.duplicated += 1
            self._courier.take(replace(delivery, update_count=0, tries=0, first_s=0.0))

    def _done(self, delivery: Delivery) -> None:
        self.tally.waiting -= delivery.update_count
        if not self.tally.waiting and not self.tally.queued:
            self._is_settled.set()

    def _takes(self, count: int) -> bool:
        if self.tally.waiting + self.tally.held + count <= self.settings.most_waiting:
            return True
        self.tally.dropped += count
        return False

    def _wait(self, count: int) -> None:
        self.tally.waiting += count
        if count:
            self._is_settled.clear()

    def _unhold(self, template: str) -> list[Message]:
        self._held_templates.discard(template)
        held = self._held.pop(template, [])
        self.tally.held -= len(held)
        return held

    def _place(self, number: str) -> tuple[str, str, str]:
        """The account's id, the number's, and the number as people read it."""
        sender = self._numbers.find(number) if number else None
        waba_id = (sender and sender.waba_id) or self.settings.waba_id
        phone = (sender and sender.display_phone_number) or self.settings.display_phone_number
        return waba_id, number, phone
