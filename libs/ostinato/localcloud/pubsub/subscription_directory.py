"""All subscriptions, and the background work of each."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from google.pubsub_v1 import types

from ostinato.clock import Clock
from ostinato.errors import AlreadyExists, NotFound
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.pubsub.live_subscription import LiveSubscription
from ostinato.localcloud.pubsub.push_loop import PushLoop
from ostinato.localcloud.pubsub.resource_names import project_of
from ostinato.localcloud.pubsub.subscription_rules import check_push_config, complete_subscription, update_subscription
from ostinato.localcloud.pubsub.topic_directory import TopicDirectory
from ostinato.localcloud.pubsub.wire_types import Subscription

MakePushLoop = Callable[[LiveSubscription], PushLoop]


class SubscriptionDirectory:
    """What runs for a subscription runs in `background`."""

    def __init__(
        self,
        topics: TopicDirectory,
        *,
        clock: Clock,
        faults: FaultPlan,
        background: asyncio.TaskGroup,
        push_loop: MakePushLoop,
    ) -> None:
        self._topics = topics
        self._clock = clock
        self._faults = faults
        self._background = background
        self._push_loop = push_loop
        self._subscriptions: dict[str, LiveSubscription] = {}
        self._running: dict[str, list[asyncio.Task[None]]] = {}

    def create(self, given: types.Subscription) -> types.Subscription:
        config = complete_subscription(given)
        if config.name in self._subscriptions:
            raise AlreadyExists(f"Subscription already exists (resource={config.name})", resource=config.name)
        self._check_topics(config)
        subscription = LiveSubscription(
            config, tag=secrets.token_urlsafe(9), clock=self._clock, faults=self._faults, forward=self._topics.forward
        )
        self._topics.attach(config.topic, config.name, subscription)
        self._subscriptions[config.name] = subscription
        self._start(subscription)
        return config

    def named(self, name: str) -> LiveSubscription:
        if name not in self._subscriptions:
            raise NotFound(f"Subscription does not exist (resource={name})", resource=name)
        return self._subscriptions[name]

    def update(self, given: types.Subscription, mask: Sequence[str]) -> types.Subscription:
        subscription = self.named(given.name)
        config = update_subscription(subscription.config, given, mask)
        self._check_dead_letter_topic(config)
        subscription.reconfigure(config)
        return config

    def modify_push_config(self, name: str, push_config: types.PushConfig) -> None:
        subscription = self.named(name)
        check_push_config(push_config)
        config = Subscription()
        config.CopyFrom(subscription.config)
        config.push_config.CopyFrom(push_config)
        subscription.reconfigure(complete_subscription(config))

    def delete(self, name: str) -> None:
        subscription = self.named(name)
        del self._subscriptions[name]
        self._topics.detach(subscription.config.topic, name)
        for task in self._running.pop(name):
            task.cancel()
        subscription.close()

    def in_project(self, project: str) -> list[types.Subscription]:
        names = sorted(name for name in self._subscriptions if project_of(name) == project)
        return [self._subscriptions[name].config for name in names]

    def close(self) -> None:
        """Ends the background work of all."""
        for tasks in self._running.values():
            for task in tasks:
                task.cancel()

    def _start(self, subscription: LiveSubscription) -> None:
        loops = (subscription.keep_time(), self._push_loop(subscription).run())
        self._running[subscription.name] = [self._background.create_task(loop) for loop in loops]

    def _check_topics(self, config: types.Subscription) -> None:
        self._topics.get(config.topic)
        self._check_dead_letter_topic(config)

    def _check_dead_letter_topic(self, config: types.Subscription) -> None:
        if config.HasField("dead_letter_policy"):
            self._topics.get(config.dead_letter_policy.dead_letter_topic)
