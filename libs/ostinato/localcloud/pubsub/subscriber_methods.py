"""The unary calls of google.pubsub.v1.Subscriber. Each answers with a message, or raises what the caller gets."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from ostinato.clock import Clock
from ostinato.errors import InvalidArgument, NotFound
from ostinato.localcloud.pubsub.ack_refusal import AckIdsRefused
from ostinato.localcloud.pubsub.backlog import Demand
from ostinato.localcloud.pubsub.listing import page_of
from ostinato.localcloud.pubsub.live_subscription import LiveSubscription
from ostinato.localcloud.pubsub.resource_names import check_project_name, check_subscription_name
from ostinato.localcloud.pubsub.subscription_directory import SubscriptionDirectory
from ostinato.localcloud.pubsub.subscription_rules import check_ack_deadline
from ostinato.localcloud.pubsub.wire_types import (
    ListSubscriptionsResponse,
    PullResponse,
    SeekResponse,
    parse_instant,
    received,
)

MOST_PULLED = 1000
# A pull that finds nothing waits for a message so long, and is answered with none then.
PULL_WAIT = timedelta(seconds=10)


class SubscriberMethods:
    def __init__(self, subscriptions: SubscriptionDirectory, clock: Clock) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        self._pulls = 0

    async def create_subscription(self, request: types.Subscription) -> object:
        return self._subscriptions.create(request)

    async def get_subscription(self, request: types.GetSubscriptionRequest) -> object:
        return self._named(request.subscription).config

    async def update_subscription(self, request: types.UpdateSubscriptionRequest) -> object:
        check_subscription_name(request.subscription.name, "subscription.name")
        return self._subscriptions.update(request.subscription, request.update_mask.paths)

    async def delete_subscription(self, request: types.DeleteSubscriptionRequest) -> object:
        check_subscription_name(request.subscription, "subscription")
        self._subscriptions.delete(request.subscription)
        return Empty()

    async def list_subscriptions(self, request: types.ListSubscriptionsRequest) -> object:
        check_project_name(request.project, "project")
        configs = self._subscriptions.in_project(request.project)
        page, token = page_of(
            configs, lambda config: config.name, of=request.project, size=request.page_size, token=request.page_token
        )
        return ListSubscriptionsResponse(subscriptions=page, next_page_token=token)

    async def modify_push_config(self, request: types.ModifyPushConfigRequest) -> object:
        check_subscription_name(request.subscription, "subscription")
        self._subscriptions.modify_push_config(request.subscription, request.push_config)
        return Empty()

    async def pull(self, request: types.PullRequest) -> object:
        subscription = self._named(request.subscription)
        if request.max_messages < 1:
            raise InvalidArgument.of("max_messages", "must be at least 1")
        self._pulls += 1
        demand = Demand(
            holder=f"pull-{self._pulls}",
            lease=timedelta(seconds=subscription.config.ack_deadline_seconds),
            messages=min(request.max_messages, MOST_PULLED),
        )
        wait = timedelta() if request.return_immediately else PULL_WAIT
        taken = await subscription.take(lambda: demand, until=self._clock.now() + wait)
        told = subscription.counts_attempts
        return PullResponse(received_messages=[received(delivery, tell_attempt=told) for delivery in taken])

    async def acknowledge(self, request: types.AcknowledgeRequest) -> object:
        subscription = self._named(request.subscription)
        _check_ack_ids(request.ack_ids)
        _tell_late(subscription, subscription.acknowledge(request.ack_ids))
        return Empty()

    async def modify_ack_deadline(self, request: types.ModifyAckDeadlineRequest) -> object:
        subscription = self._named(request.subscription)
        _check_ack_ids(request.ack_ids)
        check_ack_deadline("ack_deadline_seconds", request.ack_deadline_seconds, shortest=0)
        lease = timedelta(seconds=request.ack_deadline_seconds)
        _tell_late(subscription, subscription.extend(request.ack_ids, lease))
        return Empty()

    async def seek(self, request: types.SeekRequest) -> object:
        subscription = self._named(request.subscription)
        if request.snapshot:
            raise NotFound(f"Snapshot not found (resource={request.snapshot})", resource=request.snapshot)
        if not request.HasField("time"):
            raise InvalidArgument.of("time", "must be set")
        subscription.seek(parse_instant("time", request.time))
        return SeekResponse()

    def _named(self, name: str) -> LiveSubscription:
        check_subscription_name(name, "subscription")
        return self._subscriptions.named(name)


def _check_ack_ids(ack_ids: Collection[str]) -> None:
    if not ack_ids:
        raise InvalidArgument.of("ack_ids", "must hold at least one")


def _tell_late(subscription: LiveSubscription, late: list[str]) -> None:
    """Only with exactly-once delivery is it an error to come too late."""
    if late and subscription.config.enable_exactly_once_delivery:
        raise AckIdsRefused(late)
