"""One streaming pull: requests settle messages and change the stream, responses bring messages as there is room.

It ends when the client does, when a request breaks a rule, and when the subscription is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from google.pubsub_v1 import types

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.backlog import Delivery, Demand
from ostinato.localcloud.pubsub.live_subscription import LiveSubscription
from ostinato.localcloud.pubsub.stream_rules import StreamSettings, later_settings, open_settings
from ostinato.localcloud.pubsub.subscription_directory import SubscriptionDirectory
from ostinato.localcloud.pubsub.wire_types import StreamingPullResponse, received


class StreamingPull:
    """Begun with its first request."""

    def __init__(self, settings: StreamSettings, subscription: LiveSubscription) -> None:
        self._settings = settings
        self._subscription = subscription

    async def responses(
        self, first: types.StreamingPullRequest, further: AsyncIterator[types.StreamingPullRequest]
    ) -> AsyncGenerator[types.StreamingPullResponse, None]:
        self._apply(first)
        reading = asyncio.ensure_future(self._read(further))
        taking = asyncio.ensure_future(self._subscription.take(self._demand))
        try:
            while not reading.done():
                await asyncio.wait((reading, taking), return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    yield self._response(taking.result())
                    taking = asyncio.ensure_future(self._subscription.take(self._demand))
            reading.result()
        finally:
            reading.cancel()
            taking.cancel()
            await asyncio.gather(reading, taking, return_exceptions=True)

    async def _read(self, further: AsyncIterator[types.StreamingPullRequest]) -> None:
        async for request in further:
            self._settings = later_settings(self._settings, request)
            self._apply(request)

    def _apply(self, request: types.StreamingPullRequest) -> None:
        """On a stream it is no error to come too late, with exactly-once delivery neither."""
        if request.ack_ids:
            self._subscription.acknowledge(request.ack_ids)
        changes = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
        for ack_id, seconds in changes:
            self._subscription.extend([ack_id], timedelta(seconds=seconds))

    def _demand(self) -> Demand:
        return self._settings.demand

    def _response(self, taken: list[Delivery]) -> types.StreamingPullResponse:
        config, told = self._subscription.config, self._subscription.counts_attempts
        return StreamingPullResponse(
            received_messages=[received(delivery, tell_attempt=told) for delivery in taken],
            subscription_properties=StreamingPullResponse.SubscriptionProperties(
                exactly_once_delivery_enabled=config.enable_exactly_once_delivery,
                message_ordering_enabled=config.enable_message_ordering,
            ),
        )


class StreamingPulls:
    """Begins streams."""

    def __init__(self, subscriptions: SubscriptionDirectory) -> None:
        self._subscriptions = subscriptions
        self._begun = 0

    async def responses(
        self, requests: AsyncIterator[types.StreamingPullRequest]
    ) -> AsyncGenerator[types.StreamingPullResponse, None]:
        """Raises one of our errors when the stream has to end with it."""
        first = await anext(requests, None)
        if first is None:
            raise InvalidArgument.of("subscription", "must be set in the first request of a stream")
        self._begun += 1
        settings = open_settings(first, f"stream-{self._begun}")
        stream = StreamingPull(settings, self._subscriptions.named(settings.subscription))
        async with aclosing(stream.responses(first, requests)) as responses:
            async for response in responses:
                yield response
