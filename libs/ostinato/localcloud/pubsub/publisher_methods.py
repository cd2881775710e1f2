"""The calls of google.pubsub.v1.Publisher. Each answers with a message, or raises the error that the caller gets."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from ostinato.localcloud.pubsub.listing import page_of
from ostinato.localcloud.pubsub.published_message import check_drafts
from ostinato.localcloud.pubsub.resource_names import check_project_name, check_topic_name
from ostinato.localcloud.pubsub.topic_directory import TopicDirectory
from ostinato.localcloud.pubsub.wire_types import (
    ListTopicsResponse,
    ListTopicSubscriptionsResponse,
    PublishResponse,
    draft_of,
)


class PublisherMethods:
    def __init__(self, topics: TopicDirectory) -> None:
        self._topics = topics

    async def create_topic(self, request: types.Topic) -> object:
        return self._topics.create(request)

    async def get_topic(self, request: types.GetTopicRequest) -> object:
        check_topic_name(request.topic, "topic")
        return self._topics.get(request.topic)

    async def update_topic(self, request: types.UpdateTopicRequest) -> object:
        check_topic_name(request.topic.name, "topic.name")
        return self._topics.update(request.topic, request.update_mask.paths)

    async def delete_topic(self, request: types.DeleteTopicRequest) -> object:
        check_topic_name(request.topic, "topic")
        self._topics.delete(request.topic)
        return Empty()

    async def list_topics(self, request: types.ListTopicsRequest) -> object:
        check_project_name(request.project, "project")
        topics = self._topics.in_project(request.project)
        page, token = page_of(
            topics, lambda topic: topic.name, of=request.project, size=request.page_size, token=request.page_token
        )
        return ListTopicsResponse(topics=page, next_page_token=token)

    async def list_topic_subscriptions(self, request: types.ListTopicSubscriptionsRequest) -> object:
        check_topic_name(request.topic, "topic")
        names = self._topics.subscriptions(request.topic)
        page, token = page_of(
            names, lambda name: name, of=request.topic, size=request.page_size, token=request.page_token
        )
        return ListTopicSubscriptionsResponse(subscriptions=page, next_page_token=token)

    async def publish(self, request: types.PublishRequest) -> object:
        check_topic_name(request.topic, "topic")
        drafts = [draft_of(message) for message in request.messages]
        check_drafts(drafts)
        return PublishResponse(message_ids=self._topics.publish(request.topic, drafts))
