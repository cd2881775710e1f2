"""A subscription with its messages: its decisions are the backlog's, here they meet the clock and those who wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from google.pubsub_v1 import types

from ostinato.clock import Clock
from ostinato.errors import FailedPrecondition, NotFound
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.pubsub.backlog import Backlog, Delivery, Demand
from ostinato.localcloud.pubsub.clocked_waiting import Bell, wait_until
from ostinato.localcloud.pubsub.dead_letters import dead_letter
from ostinato.localcloud.pubsub.message_filter import parse_filter
from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage
from ostinato.localcloud.pubsub.resource_names import DELETED_TOPIC
from ostinato.localcloud.pubsub.subscription_rules import delivery_rules
from ostinato.localcloud.pubsub.wire_types import Subscription

# What the plan of faults calls the way of one message to a subscriber that pulls.
DELIVERY = "deliver"

# Publishes to the topic of that name; false if there is none.
Forward = Callable[[str, MessageDraft], bool]


class LiveSubscription:
    """`config` is complete. Whoever made this runs `keep_time`, and calls `close` when it is deleted."""

    def __init__(
        self, config: types.Subscription, *, tag: str, clock: Clock, faults: FaultPlan, forward: Forward
    ) -> None:
        self.config = config
        self._clock = clock
        self._faults = faults
        self._forward = forward
        self._matches = parse_filter(config.filter)
        self._backlog = Backlog(tag, delivery_rules(config), self._bury)
        self._news = Bell()  # something may be available, or have changed
        self._sooner = Bell()  # something ends before what `keep_time` waits for
        self._awaited: datetime | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_pushed(self) -> bool:
        return bool(self.config.push_config.push_endpoint)

    @property
    def counts_attempts(self) -> bool:
        return self._backlog.rules.most_attempts is not None

    def offer(self, message: PublishedMessage) -> None:
        if self._matches(message.draft.attributes):
            self._backlog.add(message)
            self._changed()

    def lose_topic(self) -> None:
        config = Subscription()
        config.CopyFrom(self.config)
        config.topic = DELETED_TOPIC
        self.config = config

    def reconfigure(self, config: types.Subscription) -> None:
        self.config = config
        self._backlog.rules = delivery_rules(config)
        self._changed()

    def close(self) -> None:
        """Whoever waits for its messages is told that it does not exist any more."""
        self._closed = True
        self._news.ring()

    async def take(
        self, demand: Callable[[], Demand], *, until: datetime | None = None, pushing: bool = False
    ) -> list[Delivery]:
        """Waits for at least one message, but not longer than `until`. The demand may change while it waits."""
        while True:
            self._check(pushing=pushing)
            if taken := await self._arriving(self._backlog.take(demand(), self._clock.now())):
                return taken
            if until is not None and self._clock.now() >= until:
                return []
            await wait_until(self._clock, until, self._news)

    def acknowledge(self, ack_ids: Iterable[str]) -> list[str]:
        """Answers those that came too late."""
        now = self._clock.now()
        late = [ack_id for ack_id in ack_ids if not self._backlog.acknowledge(ack_id, now)]
        self._changed()
        return late

    def extend(self, ack_ids: Iterable[str], lease: timedelta) -> list[str]:
        """Zero gives them back. Answers those that came too late."""
        now = self._clock.now()
        late = [ack_id for ack_id in ack_ids if not self._backlog.extend(ack_id, lease, now)]
        self._changed()
        return late

    def seek(self, time: datetime) -> None:
        self._backlog.seek(time)
        self._changed()

    async def change(self) -> None:
        """Waits until something may be available or have changed."""
        await self._news.wait()

    async def keep_time(self) -> None:
        """Ends leases and waits when their time is over, also if nobody looks."""
        while True:
            self._awaited = self._backlog.next_event()
            await wait_until(self._clock, self._awaited, self._sooner)
            self._backlog.expire(self._clock.now())
            self._news.ring()

    def _check(self, *, pushing: bool) -> None:
        if self._closed:
            raise NotFound(f"Subscription does not exist (resource={self.name})", resource=self.name)
        if self.is_pushed != pushing:
            kind = "push" if self.is_pushed else "pull"
            raise FailedPrecondition(f"Subscription is a {kind} subscription (resource={self.name})")

    async def _arriving(self, taken: list[Delivery]) -> list[Delivery]:
        """Without those that get lost on the way. They are leased all the same."""
        arriving, delay = [], timedelta()
        for delivery in taken:
            fate = self._faults.choose(DELIVERY)
            delay = max(delay, fate.delay)
            if fate.copies > 1:
                self._backlog.repeat(delivery.ack_id)
            if fate.refused is None and fate.answer_lost is None:
                arriving.append(delivery)
        if taken:
            self._changed()
        if delay:
            await self._clock.sleep(delay.total_seconds())
        return arriving

    def _bury(self, message: PublishedMessage, attempts: int) -> bool:
        topic = self.config.dead_letter_policy.dead_letter_topic
        return self._forward(topic, dead_letter(message, attempts, self.name))

    def _changed(self) -> None:
        self._news.ring()
        event = self._backlog.next_event()
        if event is not None and (self._awaited is None or event < self._awaited):
            self._sooner.ring()
