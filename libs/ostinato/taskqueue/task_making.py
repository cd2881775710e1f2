"""Makes rows of what is added to the embedded queue. Whatever could not be delivered is refused here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from ostinato.errors import InvalidArgument, Violation
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.add_rules import (
    dedup_key_violations,
    due_time_violations,
    kind_violations,
    payload_violations,
    share_violations,
    type_violations,
)
from ostinato.taskqueue.embedded.ready_store import NewTasks
from ostinato.taskqueue.embedded.strand import strand_of
from ostinato.taskqueue.priority import Priority
from ostinato.taskqueue.task_class import TaskClass
from ostinato.taskqueue.task_header import TaskHeader
from ostinato.taskqueue.task_ids import TaskIds
from ostinato.taskqueue.task_options import TaskOptions, option_violations, task_path
from ostinato.telemetry.tracing import current_traceparent


class TaskMaker:
    def __init__(self, queue_ids: Mapping[str, int], class_ids: Mapping[str, int], ids: TaskIds) -> None:
        self._queue_ids = queue_ids
        self._class_ids = class_ids
        self._ids = ids

    async def make(
        self,
        task_class: TaskClass[Any],
        queue: str,
        payloads: Sequence[Message],
        fair_keys: list[int],
        *,
        dedup_keys: Sequence[str] | None,
        tx: Tx | None,
        delay: timedelta | None,
        eta: datetime | None,
        priority: Priority | None,
        options: TaskOptions | None,
    ) -> NewTasks:
        """Raises InvalidArgument. `fair_keys`, and `dedup_keys` if given, are as many as `payloads`."""
        encoded = [payload.SerializeToString() for payload in payloads]
        urgency = task_class.priority if priority is None else priority
        if violations := [
            *kind_violations(task_class, in_transaction=tx is not None),
            *(due_time_violations(delay, eta) if delay is not None or eta is not None else ()),
            *payload_violations(task_class, payloads, encoded),
            *share_violations(fair_keys, urgency),
            *(dedup_key_violations(dedup_keys, in_transaction=tx is not None) if dedup_keys is not None else ()),
            *(_option_violations(task_class, options, dedup_keys) if options is not None else ()),
        ]:
            raise InvalidArgument(violations)
        return NewTasks(
            ids=await self._ids.take(len(payloads), tx),
            fair_keys=fair_keys,
            payloads=encoded,
            strand=strand_of(self._queue_ids[queue], priority=urgency),
            class_id=self._class_ids[task_class.name],
            header=_header(options),
            delay=delay or None,
            eta=eta,
        )


def picked_queue(task_class: TaskClass[Any], payload: Message) -> str:
    """Where a task of a class with a picker goes. Raises InvalidArgument for a queue that it does not list."""
    picker = task_class.queue_picker
    if picker is None:
        return task_class.queue
    if violations := type_violations(task_class, [payload]):
        raise InvalidArgument(violations)
    queue = picker.pick(payload)
    if queue not in picker.queues:
        raise InvalidArgument.of("queue", f"`{queue}` is none of those that `{task_class.name}` picks from")
    return queue


def picked_queues(task_class: TaskClass[Any], payloads: Sequence[Message]) -> dict[str, list[int]]:
    """Places of the payloads by queue."""
    places: dict[str, list[int]] = {}
    for place, payload in enumerate(payloads):
        places.setdefault(picked_queue(task_class, payload), []).append(place)
    return places


def _option_violations(
    task_class: TaskClass[Any], options: TaskOptions, dedup_keys: Sequence[str] | None
) -> Iterator[Violation]:
    path = task_path(task_class.routing_prefix, task_class.name, options.title)
    return option_violations(options, has_dedup_key=dedup_keys is not None, url=path)


def _header(options: TaskOptions | None) -> bytes | None:
    traceparent = current_traceparent()
    if options is None:
        return TaskHeader(traceparent=traceparent).encode() if traceparent else None
    return TaskHeader(traceparent=traceparent or "", title=options.title, retry=options.retry).encode()
