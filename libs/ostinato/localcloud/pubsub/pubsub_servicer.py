"""The methods of Publisher and Subscriber by their names on the wire. Snapshots, schemas and IAM are not served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from google.protobuf.message import Message
from google.pubsub_v1 import types

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.pubsub import wire_types as wire
from ostinato.localcloud.pubsub.publisher_methods import PublisherMethods
from ostinato.localcloud.pubsub.streaming_pull import StreamingPulls
from ostinato.localcloud.pubsub.subscriber_methods import SubscriberMethods
from ostinato.localcloud.unary_methods import Context, unary, unary_service
from ostinato.rpc.error_mapping import status_code
from ostinato.rpc.server import GrpcService

PUBLISHER = "google.pubsub.v1.Publisher"
SUBSCRIBER = "google.pubsub.v1.Subscriber"
_STREAMING_PULL = "StreamingPull"


def publisher_service(methods: PublisherMethods, *, faults: FaultPlan, clock: Clock) -> GrpcService:
    table = {
        "CreateTopic": unary(wire.Topic, methods.create_topic),
        "GetTopic": unary(wire.GetTopicRequest, methods.get_topic),
        "UpdateTopic": unary(wire.UpdateTopicRequest, methods.update_topic),
        "DeleteTopic": unary(wire.DeleteTopicRequest, methods.delete_topic),
        "ListTopics": unary(wire.ListTopicsRequest, methods.list_topics),
        "ListTopicSubscriptions": unary(wire.ListTopicSubscriptionsRequest, methods.list_topic_subscriptions),
        "Publish": unary(wire.PublishRequest, methods.publish),
    }
    return unary_service(PUBLISHER, table, faults=faults, clock=clock)


def subscriber_service(
    methods: SubscriberMethods, streams: StreamingPulls, *, faults: FaultPlan, clock: Clock
) -> GrpcService:
    table = {
        "CreateSubscription": unary(wire.Subscription, methods.create_subscription),
        "GetSubscription": unary(wire.GetSubscriptionRequest, methods.get_subscription),
        "UpdateSubscription": unary(wire.UpdateSubscriptionRequest, methods.update_subscription),
        "DeleteSubscription": unary(wire.DeleteSubscriptionRequest, methods.delete_subscription),
        "ListSubscriptions": unary(wire.ListSubscriptionsRequest, methods.list_subscriptions),
        "ModifyPushConfig": unary(wire.ModifyPushConfigRequest, methods.modify_push_config),
        "Pull": unary(wire.PullRequest, methods.pull),
        "Acknowledge": unary(wire.AcknowledgeRequest, methods.acknowledge),
        "ModifyAckDeadline": unary(wire.ModifyAckDeadlineRequest, methods.modify_ack_deadline),
        "Seek": unary(wire.SeekRequest, methods.seek),
    }
    unaries = unary_service(SUBSCRIBER, table, faults=faults, clock=clock)
    streaming = _streaming_handler(_FaultyStreams(streams, faults, clock))

    def add(server: grpc.aio.Server) -> None:
        unaries.add(server)
        server.add_generic_rpc_handlers((streaming,))

    return GrpcService(SUBSCRIBER, add)


def _streaming_handler(streams: _FaultyStreams) -> grpc.GenericRpcHandler:
    handler = grpc.stream_stream_rpc_method_handler(
        streams.serve,
        request_deserializer=wire.StreamingPullRequest.FromString,
        response_serializer=_encode,
    )
    return grpc.method_handlers_generic_handler(SUBSCRIBER, {_STREAMING_PULL: handler})


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


class _FaultyStreams:
    """A fault befalls a whole stream: REFUSED at its beginning, ANSWER_LOST with the first messages on their way."""

    def __init__(self, streams: StreamingPulls, faults: FaultPlan, clock: Clock) -> None:
        self._streams = streams
        self._faults = faults
        self._clock = clock

    async def serve(
        self, requests: AsyncIterator[types.StreamingPullRequest], context: Context
    ) -> AsyncIterator[types.StreamingPullResponse]:
        fate = self._faults.choose(_STREAMING_PULL)
        if fate.delay:
            await self._clock.sleep(fate.delay.total_seconds())
        if fate.refused is not None:
            await context.abort(grpc.StatusCode[fate.refused], "refused (injected fault)")
        try:
            async with aclosing(self._streams.responses(requests)) as responses:
                async for response in responses:
                    if fate.answer_lost is not None:
                        await context.abort(grpc.StatusCode[fate.answer_lost], "the stream broke (injected fault)")
                    yield response
        except OstinatoError as error:
            await context.abort(status_code(error), str(error))
