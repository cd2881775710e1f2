"""The calls about queues. Each answers with a copy, or raises the error that the caller gets."""

from __future__ import annotations

from typing import NoReturn

from google.cloud import tasks_v2
from google.protobuf.empty_pb2 import Empty

from ostinato.clock import Clock
from ostinato.errors import InvalidArgument
from ostinato.localcloud.cloud_tasks.dispatch_loop import DispatchLoop
from ostinato.localcloud.cloud_tasks.queue_directory import QueueDirectory
from ostinato.localcloud.cloud_tasks.queue_rules import complete_queue, merge_queue
from ostinato.localcloud.cloud_tasks.resource_names import location_of, parse_location_name, parse_queue_name
from ostinato.localcloud.cloud_tasks.stored_queue import StoredQueue
from ostinato.localcloud.cloud_tasks.wire_types import ListQueuesResponse
from ostinato.localcloud.page_tokens import encode_page_token, page_size, parse_page_token

LONGEST_PAGE = 9_800


class QueueMethods:
    def __init__(self, queues: QueueDirectory, loop: DispatchLoop, clock: Clock) -> None:
        self._queues = queues
        self._loop = loop
        self._clock = clock

    async def list_queues(self, request: tasks_v2.ListQueuesRequest) -> object:
        location = parse_location_name("parent", request.parent)
        if request.filter:
            _refuse_filter()
        after = parse_page_token(location, request.page_token) or ""
        size = page_size(request.page_size, LONGEST_PAGE)
        following = [queue for queue in self._queues.in_location(location) if queue.name > after]
        response = ListQueuesResponse(queues=[queue.config for queue in following[:size]])
        if len(following) > size:
            response.next_page_token = encode_page_token(location, following[size - 1].name)
        return response

    async def get_queue(self, request: tasks_v2.GetQueueRequest) -> object:
        return self._named(request.name).config

    async def create_queue(self, request: tasks_v2.CreateQueueRequest) -> object:
        location = parse_location_name("parent", request.parent)
        name = parse_queue_name("queue.name", request.queue.name)
        if location_of(name) != location:
            raise InvalidArgument.of("queue.name", f"must lie in the location of the request, {location}")
        return self._queues.create(complete_queue(request.queue)).config

    async def update_queue(self, request: tasks_v2.UpdateQueueRequest) -> object:
        """Creates the queue if it does not exist."""
        name = parse_queue_name("queue.name", request.queue.name)
        queue = self._queues.find(name)
        if queue is None:
            return self._queues.create(complete_queue(request.queue)).config
        merged = merge_queue(queue.config, request.queue, request.update_mask.paths)
        queue.reconfigure(complete_queue(merged), self._clock.monotonic())
        return self._changed(queue)

    async def delete_queue(self, request: tasks_v2.DeleteQueueRequest) -> object:
        self._queues.delete(parse_queue_name("name", request.name))
        return Empty()

    async def purge_queue(self, request: tasks_v2.PurgeQueueRequest) -> object:
        queue = self._named(request.name)
        queue.purge(self._clock.now())
        return self._changed(queue)

    async def pause_queue(self, request: tasks_v2.PauseQueueRequest) -> object:
        queue = self._named(request.name)
        queue.pause()
        return self._changed(queue)

    async def resume_queue(self, request: tasks_v2.ResumeQueueRequest) -> object:
        queue = self._named(request.name)
        queue.resume()
        return self._changed(queue)

    def _named(self, name: str) -> StoredQueue:
        return self._queues.get(parse_queue_name("name", name))

    def _changed(self, queue: StoredQueue) -> object:
        self._loop.poke()
        return queue.config


def _refuse_filter() -> NoReturn:
    raise InvalidArgument.of("filter", "is not covered by the local server")
