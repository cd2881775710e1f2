"""What a message carries when it is forwarded to a dead letter topic. Pure."""

from __future__ import annotations

from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage
from ostinato.localcloud.pubsub.resource_names import last_part, project_of

_PREFIX = "CloudPubSubDeadLetterSource"


def dead_letter(message: PublishedMessage, attempts: int, subscription: str) -> MessageDraft:
    """The message with attributes that say where it comes from and how often it was tried."""
    source = {
        f"{_PREFIX}DeliveryCount": str(attempts),
        f"{_PREFIX}Subscription": last_part(subscription),
        f"{_PREFIX}SubscriptionProject": last_part(project_of(subscription)),
        f"{_PREFIX}TopicPublishTime": message.publish_time.isoformat(timespec="milliseconds"),
    }
    return MessageDraft(message.draft.data, {**message.draft.attributes, **source}, message.draft.ordering_key)
