"""All topics, and who receives what is published to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.pubsub_v1 import types

from ostinato.clock import Clock
from ostinato.errors import AlreadyExists, NotFound
from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage
from ostinato.localcloud.pubsub.resource_names import project_of
from ostinato.localcloud.pubsub.topic_rules import complete_topic, update_topic


class Receiver(Protocol):
    """A subscription as its topic sees it."""

    def offer(self, message: PublishedMessage) -> None: ...

    def lose_topic(self) -> None: ...


@dataclass(slots=True)
class _StoredTopic:
    config: types.Topic
    receivers: dict[str, Receiver] = field(default_factory=dict)


class TopicDirectory:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, _StoredTopic] = {}
        # Ids go on growing when the process is started again, so that nobody takes a new message for an old one.
        self._last_id = int(clock.now().timestamp() * 1_000_000)

    def create(self, given: types.Topic) -> types.Topic:
        topic = complete_topic(given)
        if topic.name in self._topics:
            raise AlreadyExists(f"Topic already exists (resource={topic.name})", resource=topic.name)
        self._topics[topic.name] = _StoredTopic(topic)
        return topic

    def get(self, name: str) -> types.Topic:
        return self._stored(name).config

    def update(self, given: types.Topic, mask: Sequence[str]) -> types.Topic:
        stored = self._stored(given.name)
        stored.config = update_topic(stored.config, given, mask)
        return stored.config

    def delete(self, name: str) -> None:
        """Its subscriptions keep what they have."""
        stored = self._stored(name)
        del self._topics[name]
        for receiver in stored.receivers.values():
            receiver.lose_topic()

    def in_project(self, project: str) -> list[types.Topic]:
        names = sorted(name for name in self._topics if project_of(name) == project)
        return [self._topics[name].config for name in names]

    def subscriptions(self, name: str) -> list[str]:
        return sorted(self._stored(name).receivers)

    def publish(self, name: str, drafts: Sequence[MessageDraft]) -> list[str]:
        """Ids of the messages. The drafts have been checked."""
        stored = self._stored(name)
        return [self._send(stored, draft) for draft in drafts]

    def forward(self, name: str, draft: MessageDraft) -> bool:
        """Publishes to a topic that may have been deleted meanwhile: then it is false."""
        if name not in self._topics:
            return False
        self.publish(name, [draft])
        return True

    def attach(self, name: str, subscription: str, receiver: Receiver) -> None:
        self._stored(name).receivers[subscription] = receiver

    def detach(self, name: str, subscription: str) -> None:
        if name in self._topics:
            self._topics[name].receivers.pop(subscription, None)

    def _send(self, stored: _StoredTopic, draft: MessageDraft) -> str:
        self._last_id += 1
        message = PublishedMessage(str(self._last_id), self._clock.now(), draft, draft.size)
        for receiver in list(stored.receivers.values()):
            receiver.offer(message)
        return message.message_id

    def _stored(self, name: str) -> _StoredTopic:
        if name not in self._topics:
            raise NotFound(f"Topic not found (resource={name})", resource=name)
        return self._topics[name]
