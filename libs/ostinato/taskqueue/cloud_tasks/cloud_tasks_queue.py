"""Cloud Tasks as the queue of a dispatcher.

With a transaction a task is a reminder in it, submitted after its commit; a rolled back one leaves nothing. Without
one it is submitted at once, and the caller hears what came of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from google.cloud import tasks_v2

from ostinato.clock import Clock, SystemClock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.storage.startup import patiently
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.cloud_tasks.cloud_client import CALL_TIMEOUT, code_of, open_cloud_client, text_of
from ostinato.taskqueue.cloud_tasks.queue_preparation import QueuePreparation
from ostinato.taskqueue.cloud_tasks.remote_depth import look_at_queue
from ostinato.taskqueue.cloud_tasks.remote_names import location_path, number_of, short_name
from ostinato.taskqueue.cloud_tasks.request_building import Moment, RequestBuilder
from ostinato.taskqueue.cloud_tasks.submit_verdicts import error_of
from ostinato.taskqueue.cloud_tasks.task_submitter import TaskSubmitter
from ostinato.taskqueue.cloud_tasks.waiting_reminders import count_reminders, delete_reminders_of
from ostinato.taskqueue.cloud_tasks.waiting_tasks import find_reminded, find_waiting
from ostinato.taskqueue.parallel_calls import for_each
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.reminders.happy_path import HappyPath, HappyPathSettings, open_happy_path
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import NewReminder, beginning_of, encode_reminder, new_reminder_id
from ostinato.taskqueue.reminders.reminder_store import is_any_beginning
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.remote_queue import RemoteAdd, RemoteDepth, WaitingTasks
from ostinato.taskqueue.task_class import P, TaskClass
from ostinato.taskqueue.task_name import hex_name_of
from ostinato.telemetry.tracing import current_traceparent

# Requests outside of transactions.
_BATCH = 100
_BATCHES_AT_ONCE = 8
_OF_BATCH_AT_ONCE = 8
_Item = TypeVar("_Item")


class CloudTasksQueue:
    """Build it with `open_cloud_tasks_queue`. `submissions` is for sweepers of this process."""

    def __init__(
        self,
        settings: CloudTasksSettings,
        *,
        db: Database,
        client: tasks_v2.CloudTasksAsyncClient,
        submissions: Submissions,
        submitter: TaskSubmitter,
        happy_path: HappyPath,
        clock: Clock,
        looks_after_queues: bool = True,
        new_id: Callable[[], UUID] = new_reminder_id,
    ) -> None:
        self.settings = settings
        self.submissions = submissions
        self._db = db
        self._client = client
        self._submitter = submitter
        self._happy_path = happy_path
        self._clock = clock
        self._looks_after_queues = looks_after_queues
        self._new_id = new_id
        self._builder = RequestBuilder(settings)

    async def prepare(self, classes: Sequence[TaskClass[Any]], queues: Sequence[QueueSettings]) -> None:
        """Creates and mends them, or where that is somebody else's to do, verifies that it was done.

        Waits for a Cloud Tasks that is away; raises what waiting does not mend.
        """
        if not self._looks_after_queues:
            return
        preparation = QueuePreparation(self._client, location_path(self.settings.project, self.settings.location))
        by_queue: dict[str, list[TaskClass[Any]]] = {}
        for task_class in classes:
            for queue in task_class.queues:
                by_queue.setdefault(self._builder.queue_path(queue), []).append(task_class)
        if not self.settings.prepare_queues:
            await patiently(lambda: preparation.verify(by_queue), self._clock)
            return
        limits = {self._builder.queue_path(each.name): each for each in queues}
        await patiently(lambda: preparation.prepare(by_queue, limits), self._clock)

    async def add(self, tasks: RemoteAdd, tx: Tx | None) -> list[int | None]:
        if tx is not None:
            counts_from = await tx.now() if tasks.delay else None
            return [*await self._remind(tasks, tx, Moment(self._clock.now(), current_traceparent(), counts_from))]
        moment = Moment(self._clock.now(), current_traceparent())
        keys = tasks.dedup_keys
        if keys is None:
            requests = [self._builder.build(tasks, payload, "", moment) for payload in tasks.payloads]
            return await self._create_all(requests)
        first = {key: n for n, key in reversed([*enumerate(keys)])}  # a key given twice adds once
        chosen = sorted(first.values())
        requests = [
            self._builder.build(tasks, tasks.payloads[n], self._name(tasks.task_class, keys[n], tasks), moment)
            for n in chosen
        ]
        added = dict(zip(chosen, await self._create_all(requests), strict=True))
        return [added.get(n) for n in range(len(keys))]

    async def add_requests(self, tx: Tx, task_class: str, queue: str, bodies: Sequence[bytes]) -> None:
        moment = Moment(self._clock.now())
        reminders = []
        for body in bodies:
            reminder_id = self._new_id()
            request = self._builder.rebuild(task_class, queue, reminder_id.hex, body, moment)
            reminders.append(self._reminder(reminder_id, task_class, request, moment))
        await self._write(tx, reminders)

    async def delete(
        self, task_class: TaskClass[Any], dedup_keys: Sequence[str], name_prefix: str, *, namespace: str = ""
    ) -> int:
        namespace = namespace or self.settings.namespace
        hashed = [hex_name_of(namespace, task_class.name, key, name_prefix) for key in dedup_keys]
        names = [(self._builder.queue_path(queue), name) for queue in task_class.queues for name in hashed]
        deleted: list[str] = []

        async def delete(queue_and_name: tuple[str, str]) -> None:
            name = "/tasks/".join(queue_and_name)
            if await self._submitter.delete(name):
                deleted.append(name)

        await _in_batches(names, lambda queue_and_name: queue_and_name[0], delete)
        return len(deleted)

    async def waiting(self, task_class: TaskClass[Any]) -> WaitingTasks | None:
        paths = [self._builder.queue_path(queue) for queue in task_class.queues]
        return await find_waiting(self._db, self._client, task_class, paths)

    async def are_reminders_late(self, tx: Tx, task_class: TaskClass[Any], *, by: timedelta) -> bool:
        return await is_any_beginning(tx, beginning_of(task_class.name), fresh_until=self.settings.fresh_for - by)

    async def reminded(self, tx: Tx, task_class: TaskClass[P], mentioning: Collection[int]) -> list[P]:
        return await find_reminded(tx, task_class, mentioning)

    async def pause(self, queue: str) -> None:
        await self._change(self._client.pause_queue, queue)

    async def resume(self, queue: str) -> None:
        await self._change(self._client.resume_queue, queue)

    async def purge(self, queue: str) -> int:
        """Reminders first: what was submitted meanwhile is purged there."""
        deleted = await delete_reminders_of(self._db, self._builder.queue_path(queue))
        await self._change(self._client.purge_queue, queue)
        return deleted

    async def depths(self, queues: Sequence[str]) -> Mapping[str, RemoteDepth]:
        reminders = await count_reminders(self._db)
        depths: dict[str, RemoteDepth] = {}

        async def look(queue: str) -> None:
            path = self._builder.queue_path(queue)
            depths[queue] = await look_at_queue(self._client, path, reminders[path])

        await for_each(queues, look, most=_OF_BATCH_AT_ONCE)
        return depths

    async def _change(self, change: Callable[..., Awaitable[tasks_v2.Queue]], queue: str) -> None:
        path = self._builder.queue_path(queue)
        try:
            await change(name=path, timeout=CALL_TIMEOUT, retry=None)
        except Exception as error:
            raise error_of(code_of(error), f"queue {path}: {text_of(error)}") from error

    def _name(self, task_class: TaskClass[Any], key: str, tasks: RemoteAdd) -> str:
        namespace = tasks.namespace or self.settings.namespace
        return hex_name_of(namespace, task_class.name, key, tasks.options.name_prefix)

    async def _remind(self, tasks: RemoteAdd, tx: Tx, moment: Moment) -> list[int]:
        reminders, numbers = [], []
        for payload in tasks.payloads:
            reminder_id = self._new_id()
            request = self._builder.build(tasks, payload, reminder_id.hex, moment)
            reminders.append(self._reminder(reminder_id, tasks.task_class.name, request, moment))
            numbers.append(number_of(reminder_id.hex))
        await self._write(tx, reminders)
        return numbers

    def _reminder(
        self, reminder_id: UUID, task_class: str, request: tasks_v2.CreateTaskRequest, moment: Moment
    ) -> NewReminder:
        encoded = request.SerializeToString()
        queue = short_name(request.parent)
        payload = encode_reminder(task_class=task_class, queue=queue, created=moment.now, request=encoded)
        return NewReminder(reminder_id, payload, self.settings.fresh_for)

    async def _write(self, tx: Tx, reminders: Sequence[NewReminder]) -> None:
        """In our own transactions by one statement directly before the commit."""
        if tx.foreign:
            await self._happy_path.remind(tx, reminders)
            return
        tx.before_commit(self, self._flush)
        tx.buffers.setdefault(self, []).extend(reminders)

    async def _flush(self, tx: Tx) -> None:
        await self._happy_path.remind(tx, tx.buffers.pop(self, []))

    async def _create_all(self, requests: Sequence[tasks_v2.CreateTaskRequest]) -> list[int | None]:
        """Tries all, whatever becomes of some; then raises the first error."""
        numbers: list[int | None] = [None] * len(requests)
        errors: list[OstinatoError] = []

        async def create(place: int) -> None:
            try:
                name = await self._submitter.create(requests[place])
            except OstinatoError as error:
                errors.append(error)
            else:
                numbers[place] = number_of(name) if name is not None else None

        await _in_batches(range(len(requests)), lambda place: requests[place].parent, create)
        if errors:
            raise errors[0]
        return numbers


async def _in_batches(
    items: Iterable[_Item], queue_of: Callable[[_Item], str], call: Callable[[_Item], Awaitable[None]]
) -> None:
    """Each batch is of one queue, and queues take turns: one that answers slowly does not keep the others waiting."""
    by_queue: dict[str, list[_Item]] = {}
    for item in items:
        by_queue.setdefault(queue_of(item), []).append(item)
    longest = max(map(len, by_queue.values()), default=0)
    batches = (
        batch
        for first in range(0, longest, _BATCH)
        for each in by_queue.values()
        if (batch := each[first : first + _BATCH])
    )
    await for_each(batches, lambda batch: for_each(batch, call, most=_OF_BATCH_AT_ONCE), most=_BATCHES_AT_ONCE)


@asynccontextmanager
async def open_cloud_tasks_queue(
    settings: CloudTasksSettings,
    db: Database,
    *,
    clock: Clock | None = None,
    happy_path: HappyPathSettings | None = None,
    refusals: RefusalPolicy | None = None,
    looks_after_queues: bool = True,
) -> AsyncIterator[CloudTasksQueue]:
    """`looks_after_queues`: False where another process creates or verifies them.

    At the end of the block what is under way is submitted, as far as `happy_path` gives it time.
    """
    clock = clock or SystemClock()
    async with open_cloud_client(settings) as client:
        submitter = TaskSubmitter(client)
        submissions = Submissions(db, submitter, clock, policy=refusals)
        async with open_happy_path(submissions, clock, happy_path) as happy:
            yield CloudTasksQueue(
                settings,
                db=db,
                client=client,
                submissions=submissions,
                submitter=submitter,
                happy_path=happy,
                clock=clock,
                looks_after_queues=looks_after_queues,
            )
