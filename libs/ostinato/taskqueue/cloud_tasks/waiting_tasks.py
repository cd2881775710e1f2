"""Which tasks of a class have not ended: those of reminders, parked ones too, and those that Cloud Tasks lists.

Reminders are read first: a task moves from there to Cloud Tasks and never back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from google.cloud import tasks_v2
from google.protobuf.message import DecodeError

from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.cloud_tasks.cloud_client import CALL_TIMEOUT, code_of, text_of
from ostinato.taskqueue.cloud_tasks.envelope import NoEnvelopeError, NoPayloadError, decode_envelope, decode_payload
from ostinato.taskqueue.cloud_tasks.remote_names import number_of
from ostinato.taskqueue.reminders.reminder import beginning_of, decode_reminder
from ostinato.taskqueue.reminders.reminder_store import find_payloads_containing, load_some_payloads
from ostinato.taskqueue.remote_queue import WaitingTasks
from ostinato.taskqueue.task_class import P, TaskClass

_log = logging.getLogger(__name__)
MOST_REMINDERS = 10_000
MOST_LISTED = 20_000
_PAGE = 1000
_NOT_FOUND = "NOT_FOUND"


async def find_waiting(
    db: Database, client: tasks_v2.CloudTasksAsyncClient, task_class: TaskClass[Any], queue_paths: Iterable[str]
) -> WaitingTasks | None:
    """None: it can't be told. Raises errors of the database."""
    payloads = await load_some_payloads(db, MOST_REMINDERS + 1)
    if len(payloads) > MOST_REMINDERS:
        _log.warning("too many reminders to tell which tasks of %s wait", task_class.name)
        return None
    tasks = list(_tasks_of(payloads, task_class))
    for path in queue_paths:
        listed = await _list(client, path)
        if listed is None:
            return None
        tasks += listed
    found = [(number_of(task.name), payload) for task in tasks if (payload := _payload(task, task_class)) is not None]
    return WaitingTasks(
        frozenset(number for number, _ in found), frozenset(payload.SerializeToString() for _, payload in found)
    )


async def find_reminded(tx: Tx, task_class: TaskClass[P], mentioning: Collection[int]) -> list[P]:
    """Payloads of reminders, with all that have one of these numbers in it: JSON writes them in decimals."""
    parts = [str(number).encode() for number in mentioning]
    found = await find_payloads_containing(tx, beginning_of(task_class.name), parts)
    payloads = (_payload(task, task_class) for task in _tasks_of(found, task_class))
    return [payload for payload in payloads if payload is not None]


def _tasks_of(payloads: Iterable[bytes], task_class: TaskClass[Any]) -> Iterator[tasks_v2.Task]:
    for payload in payloads:
        reminder = decode_reminder(payload)
        if reminder is None or reminder.task_class != task_class.name:
            continue
        try:
            yield tasks_v2.CreateTaskRequest.deserialize(reminder.create_task_request).task
        except DecodeError:
            _log.warning("the request of a reminder of %s can't be read", task_class.name)


async def _list(client: tasks_v2.CloudTasksAsyncClient, path: str) -> list[tasks_v2.Task] | None:
    request = tasks_v2.ListTasksRequest(parent=path, response_view=tasks_v2.Task.View.FULL, page_size=_PAGE)
    tasks: list[tasks_v2.Task] = []
    try:
        async for page in (await client.list_tasks(request, timeout=CALL_TIMEOUT, retry=None)).pages:
            tasks += page.tasks
            if len(tasks) > MOST_LISTED:
                _log.warning("too many tasks in %s to tell which wait", path)
                return None
    except Exception as error:  # noqa: BLE001 - by the code
        if (code := code_of(error)) == _NOT_FOUND:
            return []
        _log.warning("what waits in %s is not known: Cloud Tasks answered %s: %s", path, code, text_of(error))
        return None
    return tasks


def _payload(task: tasks_v2.Task, task_class: TaskClass[P]) -> P | None:
    """None: it is of another class, or nobody can read it; then it comes to nothing here either."""
    try:
        envelope = decode_envelope(task.http_request.body)
        named = envelope.class_name or envelope.type_name
        if named not in {task_class.name, task_class.payload.DESCRIPTOR.full_name}:
            return None
        return decode_payload(envelope, task_class.payload)
    except (NoEnvelopeError, NoPayloadError):
        return None
