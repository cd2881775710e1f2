"""The messages of google.pubsub.v1 as plain protobuf ones, typed by the official client's wrappers.

The wrappers convert at every access; the plain ones are what the wire carries, and faster.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1 import types

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.backlog import Delivery
from ostinato.localcloud.pubsub.published_message import MessageDraft, PublishedMessage

W = TypeVar("W")


def _plain(wrapper: type[W]) -> type[W]:
    return cast("type[W]", wrapper.pb())  # type: ignore[attr-defined]


PubsubMessage = _plain(types.PubsubMessage)
Topic = _plain(types.Topic)
GetTopicRequest = _plain(types.GetTopicRequest)
UpdateTopicRequest = _plain(types.UpdateTopicRequest)
DeleteTopicRequest = _plain(types.DeleteTopicRequest)
ListTopicsRequest = _plain(types.ListTopicsRequest)
ListTopicsResponse = _plain(types.ListTopicsResponse)
ListTopicSubscriptionsRequest = _plain(types.ListTopicSubscriptionsRequest)
ListTopicSubscriptionsResponse = _plain(types.ListTopicSubscriptionsResponse)
PublishRequest = _plain(types.PublishRequest)
PublishResponse = _plain(types.PublishResponse)
Subscription = _plain(types.Subscription)
PushConfig = _plain(types.PushConfig)
GetSubscriptionRequest = _plain(types.GetSubscriptionRequest)
UpdateSubscriptionRequest = _plain(types.UpdateSubscriptionRequest)
DeleteSubscriptionRequest = _plain(types.DeleteSubscriptionRequest)
ListSubscriptionsRequest = _plain(types.ListSubscriptionsRequest)
ListSubscriptionsResponse = _plain(types.ListSubscriptionsResponse)
ModifyPushConfigRequest = _plain(types.ModifyPushConfigRequest)
PullRequest = _plain(types.PullRequest)
PullResponse = _plain(types.PullResponse)
ReceivedMessage = _plain(types.ReceivedMessage)
StreamingPullRequest = _plain(types.StreamingPullRequest)
StreamingPullResponse = _plain(types.StreamingPullResponse)
AcknowledgeRequest = _plain(types.AcknowledgeRequest)
ModifyAckDeadlineRequest = _plain(types.ModifyAckDeadlineRequest)
SeekRequest = _plain(types.SeekRequest)
SeekResponse = _plain(types.SeekResponse)


def parse_duration(field: str, duration: Duration) -> timedelta:
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError):
        raise InvalidArgument.of(field, "must be a duration") from None


def parse_instant(field: str, stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument.of(field, "must be a time in the years 1 to 9999") from None


def draft_of(message: types.PubsubMessage) -> MessageDraft:
    """Without what only the service sets, which a publisher may not."""
    return MessageDraft(message.data, dict(message.attributes), message.ordering_key)


def received(delivery: Delivery, *, tell_attempt: bool) -> types.ReceivedMessage:
    """Attempts are told only where a dead letter policy counts them."""
    told = delivery.attempt if tell_attempt else 0
    return ReceivedMessage(ack_id=delivery.ack_id, message=_wire_message(delivery.message), delivery_attempt=told)


def _wire_message(published: PublishedMessage) -> types.PubsubMessage:
    draft = published.draft
    stamp = Timestamp()
    stamp.FromDatetime(published.publish_time)
    return PubsubMessage(
        data=draft.data,
        attributes=draft.attributes,
        message_id=published.message_id,
        publish_time=stamp,
        ordering_key=draft.ordering_key,
    )
