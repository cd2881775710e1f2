"""Builds the local Pub/Sub: two gRPC services on one state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ostinato.clock import Clock
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.pubsub.live_subscription import LiveSubscription
from ostinato.localcloud.pubsub.publisher_methods import PublisherMethods
from ostinato.localcloud.pubsub.pubsub_servicer import publisher_service, subscriber_service
from ostinato.localcloud.pubsub.push_loop import PushLoop
from ostinato.localcloud.pubsub.push_sender import open_push_sender
from ostinato.localcloud.pubsub.streaming_pull import StreamingPulls
from ostinato.localcloud.pubsub.subscriber_methods import SubscriberMethods
from ostinato.localcloud.pubsub.subscription_directory import SubscriptionDirectory
from ostinato.localcloud.pubsub.topic_directory import TopicDirectory
from ostinato.localcloud.reused_tokens import ReusedTokens
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.server import GrpcService


@asynccontextmanager
async def open_pubsub(*, clock: Clock, faults: FaultPlan, tokens: TokenIssuer) -> AsyncIterator[list[GrpcService]]:
    """The services, to be served during the block. Everything is forgotten at its end."""
    async with open_push_sender(clock) as sender, asyncio.TaskGroup() as background:
        reused = ReusedTokens(tokens, clock)

        def push_loop(subscription: LiveSubscription) -> PushLoop:
            return PushLoop(subscription, sender=sender, tokens=reused, clock=clock, faults=faults)

        topics = TopicDirectory(clock)
        subscriptions = SubscriptionDirectory(
            topics, clock=clock, faults=faults, background=background, push_loop=push_loop
        )
        subscriber = SubscriberMethods(subscriptions, clock)
        streams = StreamingPulls(subscriptions)
        try:
            yield [
                publisher_service(PublisherMethods(topics), faults=faults, clock=clock),
                subscriber_service(subscriber, streams, faults=faults, clock=clock),
            ]
        finally:
            subscriptions.close()
