"""The calls about tasks. Each answers with a copy, or raises the error that the caller gets."""

from __future__ import annotations

import itertools
import secrets

from google.cloud import tasks_v2
from google.protobuf.empty_pb2 import Empty

from ostinato.clock import Clock
from ostinato.errors import AlreadyExists, InvalidArgument
from ostinato.localcloud.cloud_tasks.dispatch_loop import DispatchLoop
from ostinato.localcloud.cloud_tasks.queue_directory import QueueDirectory
from ostinato.localcloud.cloud_tasks.resource_names import TaskName, parse_queue_name, parse_task_name, task_name
from ostinato.localcloud.cloud_tasks.stored_queue import StoredQueue
from ostinato.localcloud.cloud_tasks.stored_task import StoredTask, show_task
from ostinato.localcloud.cloud_tasks.task_life import begin
from ostinato.localcloud.cloud_tasks.task_rules import parse_new_task
from ostinato.localcloud.cloud_tasks.wire_types import ListTasksResponse
from ostinato.localcloud.page_tokens import encode_page_token, page_size, parse_page_token

LONGEST_PAGE = 1_000

# Ids made up by Cloud Tasks are numbers of about this length.
_GENERATED_ID_BITS = 64


class TaskMethods:
    def __init__(self, queues: QueueDirectory, loop: DispatchLoop, clock: Clock) -> None:
        self._queues = queues
        self._loop = loop
        self._clock = clock
        self._numbers = itertools.count(1)

    async def create_task(self, request: tasks_v2.CreateTaskRequest) -> object:
        view = _view("response_view", request.response_view)
        name = parse_queue_name("parent", request.parent)
        now = self._clock.now()
        new = parse_new_task(name, request.task, now)
        queue = self._queues.get_to_add(name)
        if new.name is not None:
            self._check_unused(queue, new.name)
        task = StoredTask(
            number=next(self._numbers),
            name=new.name or _generated_name(queue),
            http=new.http,
            deadline=new.deadline,
            retry=new.retry,
            state=begin(now, new.schedule_at),
        )
        queue.add(task)
        self._loop.poke()
        return show_task(task, view)

    async def get_task(self, request: tasks_v2.GetTaskRequest) -> object:
        view = _view("response_view", request.response_view)
        _, task = self._queues.get_task(parse_task_name("name", request.name))
        return show_task(task, view)

    async def list_tasks(self, request: tasks_v2.ListTasksRequest) -> object:
        """Oldest first."""
        view = _view("response_view", request.response_view)
        queue = self._queues.get(parse_queue_name("parent", request.parent))
        after = _parse_number(parse_page_token(queue.name, request.page_token))
        size = page_size(request.page_size, LONGEST_PAGE)
        following = (task for task in queue.tasks() if task.number > after)
        page = list(itertools.islice(following, size + 1))
        response = ListTasksResponse(tasks=[show_task(task, view) for task in page[:size]])
        if len(page) > size:
            response.next_page_token = encode_page_token(queue.name, str(page[size - 1].number))
        return response

    async def delete_task(self, request: tasks_v2.DeleteTaskRequest) -> object:
        queue, task = self._queues.get_task(parse_task_name("name", request.name))
        queue.delete(task.name, self._clock.now())
        return Empty()

    async def run_task(self, request: tasks_v2.RunTaskRequest) -> object:
        """The answer shows the task dispatched, but not what comes of it."""
        view = _view("response_view", request.response_view)
        queue, task = self._queues.get_task(parse_task_name("name", request.name))
        self._loop.dispatch_now(queue, task)
        return show_task(task, view)

    def _check_unused(self, queue: StoredQueue, name: TaskName) -> None:
        if queue.find(name) is not None:
            raise AlreadyExists(f"The task {name} exists.", resource=name)
        if queue.existed_recently(name, self._clock.now()):
            raise AlreadyExists(
                f"The task {name} can't be created because a task with this name existed too recently.", resource=name
            )


def _generated_name(queue: StoredQueue) -> TaskName:
    while queue.find(name := task_name(queue.name, str(secrets.randbits(_GENERATED_ID_BITS)))) is not None:
        pass
    return name


def _view(path: str, view: int) -> int:
    if view not in list(tasks_v2.Task.View):
        raise InvalidArgument.of(path, "must be BASIC or FULL")
    return view


def _parse_number(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidArgument.of("page_token", "must be the next_page_token of the same list")
    return int(text)
