"""A pushed task as its handler sees it: like a claimed one, made of a request instead of a row. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from ostinato.taskqueue.cloud_tasks.remote_names import number_of
from ostinato.taskqueue.cloud_tasks.task_headers import PushHeaders
from ostinato.taskqueue.embedded.strand import strand_of
from ostinato.taskqueue.task_class import TaskClass
from ostinato.taskqueue.task_context import PUSHED, TaskContext
from ostinato.taskqueue.task_header import TaskHeader

_NO_VERSION = (0, 0)


def pushed_task(
    task_class: TaskClass[Any], class_id: int, headers: PushHeaders, payload: Message, *, now: datetime, excused: int
) -> TaskContext:
    """`excused`: earlier attempts that don't count. A task of a picker's class belongs to the queue it came from."""
    if task_class.queue_picker is not None:
        task_class = replace(task_class, queue=headers.queue, queue_picker=None)
    due = headers.eta or now
    row = (
        _NO_VERSION,
        number_of(headers.task_name),
        strand_of(0),
        due,
        due,
        0,
        class_id,
        headers.retry_count + 1,
        max(0, headers.retry_count - excused),
        0,
        TaskHeader(traceparent=headers.traceparent, title=headers.title, retry=headers.retry).encode(),
        payload.SerializeToString(),
    )
    return TaskContext(row, PUSHED, task_class)
