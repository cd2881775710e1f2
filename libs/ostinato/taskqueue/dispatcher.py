"""Adds tasks: in the caller's transaction, or in one of their own.

In our own transactions adds are buffered and written by one INSERT directly before COMMIT. Whatever could make an
add impossible is refused in `add`, before anything is buffered.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, overload
from uuid import UUID

from google.protobuf.message import Message

from ostinato.clock import Clock, SystemClock
from ostinato.errors import InvalidArgument, Violation
from ostinato.storage.database import Database, transaction_on
from ostinato.storage.startup import patiently
from ostinato.storage.transaction import Connection, Tx
from ostinato.taskqueue.add_rules import (
    dedup_key_violations,
    due_time_violations,
    kind_violations,
    payload_violations,
    share_violations,
)
from ostinato.taskqueue.administration import store_queue_settings
from ostinato.taskqueue.embedded.claimed_insert_store import ClaimedRow
from ostinato.taskqueue.embedded.handover import Handover
from ostinato.taskqueue.embedded.name_store import delete_names
from ostinato.taskqueue.embedded.queue_store import ensure_classes, ensure_queues
from ostinato.taskqueue.embedded.ready_store import NewTasks
from ostinato.taskqueue.embedded.strand import strand_of
from ostinato.taskqueue.priority import Priority
from ostinato.taskqueue.queue_settings import QueueSettings, check_queue_settings
from ostinato.taskqueue.submitting import Submitter
from ostinato.taskqueue.task_class import P, TaskClass, check_classes
from ostinato.taskqueue.task_header import TaskHeader
from ostinato.taskqueue.task_ids import TaskIds
from ostinato.taskqueue.task_name import name_of
from ostinato.taskqueue.wake_up import WakeUps
from ostinato.telemetry.tracing import current_traceparent

_NAMESPACE = re.compile(r"|[A-Za-z_][A-Za-z0-9_]{0,49}")
_MOST_NAMES = 1000  # deleted by one statement


class Dispatcher:
    """The submitting side. Build it with `open_dispatcher`."""

    def __init__(
        self,
        db: Database,
        classes: Sequence[TaskClass[Any]],
        queue_ids: Mapping[str, int],
        class_ids: Mapping[str, int],
        wake_ups: WakeUps,
        *,
        clock: Clock,
        namespace: str = "",
    ) -> None:
        self.db = db
        self.wake_ups = wake_ups
        self.queue_ids = dict(queue_ids)
        self.class_ids = dict(class_ids)
        self._classes = {task_class.name: task_class for task_class in classes}
        self._namespace = namespace
        self._ids = TaskIds(db)
        self._submitter = Submitter(db, wake_ups, clock, list(self.class_ids.values()))
        self.handover = Handover()

    @property
    def added(self) -> Mapping[TaskClass[Any], int]:
        """How many tasks of each class were added and committed; on a caller's own transaction: inserted."""
        added = self._submitter.added
        return {task_class: added[self.class_ids[name]] for name, task_class in self._classes.items()}

    @overload
    async def add(
        self,
        task_class: TaskClass[P],
        payload: P,
        *,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_key: int = 0,
        priority: Priority | None = None,
    ) -> int: ...

    @overload
    async def add(
        self,
        task_class: TaskClass[P],
        payload: P,
        *,
        dedup_key: str,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_key: int = 0,
        priority: Priority | None = None,
    ) -> int | None: ...

    async def add(
        self,
        task_class: TaskClass[P],
        payload: P,
        *,
        dedup_key: str | None = None,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_key: int = 0,
        priority: Priority | None = None,
    ) -> int | None:
        """Adds one task and returns its id. With `tx` it exists if and only if the transaction commits.

        `delay` counts from the insert, by the database's clock; `eta` is absolute. Tasks of one `fair_key` (0: none)
        can't hold up those of others; `priority` is the class's where none is given. With `dedup_key`, only outside a
        transaction, None means that the class has a task of this key which has not ended, or ended less than the
        queue's window (1 h) ago; then nothing was added. Raises InvalidArgument, and CommitOutcomeUnknown for an
        add of its own whose answer was lost.
        """
        keys = [dedup_key] if dedup_key is not None else None
        tasks = await self._new_tasks(
            task_class, [payload], [fair_key], dedup_keys=keys, tx=tx, delay=delay, eta=eta, priority=priority
        )
        if keys is not None:
            return (await self._submit_named(task_class, tasks, keys))[0]
        await self._submitter.submit(tasks, tx)
        return tasks.ids[0]

    @overload
    async def add_many(
        self,
        task_class: TaskClass[P],
        payloads: Sequence[P],
        *,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_keys: Sequence[int] | None = None,
        priority: Priority | None = None,
    ) -> list[int]: ...

    @overload
    async def add_many(
        self,
        task_class: TaskClass[P],
        payloads: Sequence[P],
        *,
        dedup_keys: Sequence[str],
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_keys: Sequence[int] | None = None,
        priority: Priority | None = None,
    ) -> list[int | None]: ...

    async def add_many(
        self,
        task_class: TaskClass[P],
        payloads: Sequence[P],
        *,
        dedup_keys: Sequence[str] | None = None,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_keys: Sequence[int] | None = None,
        priority: Priority | None = None,
    ) -> Sequence[int | None]:
        """Adds tasks of one class by one statement; ids in the order of `payloads`, `dedup_keys` as in `add`."""
        if not payloads:
            return []
        fair = [0] * len(payloads) if fair_keys is None else list(fair_keys)
        tasks = await self._new_tasks(
            task_class, payloads, fair, dedup_keys=dedup_keys, tx=tx, delay=delay, eta=eta, priority=priority
        )
        if dedup_keys is not None:
            return await self._submit_named(task_class, tasks, dedup_keys)
        await self._submitter.submit(tasks, tx)
        return list(tasks.ids)

    async def start_here(
        self,
        task_class: TaskClass[P],
        payloads: Sequence[P],
        *,
        tx: Tx,
        fair_keys: Sequence[int],
        traceparents: Sequence[str | None],
        given: Callable[[], Sequence[object]] | None = None,
    ) -> list[int] | None:
        """Adds tasks of one class that this process's worker starts directly after the commit, without claiming them.

        None: nothing was added, because there is no such worker, it is not allowed to start them now, or others wait
        before them; then add them as others are. `given` tells what their handlers find in `task.given` as long as
        the task stays with this process: something they would have to read again otherwise.
        """
        if not self.handover.has_room(self.class_ids[task_class.name], len(payloads)):
            return None
        tasks = await self._new_tasks(
            task_class, payloads, list(fair_keys), dedup_keys=None, tx=tx, delay=None, eta=None, priority=None
        )
        headers = {trace: _header(trace) for trace in set(traceparents)}
        rows = [
            ClaimedRow(task_id, tasks.strand, fair_key, tasks.class_id, headers[trace], payload)
            for task_id, fair_key, trace, payload in zip(
                tasks.ids, tasks.fair_keys, traceparents, tasks.payloads, strict=True
            )
        ]
        if not await self.handover.insert(tx, task_class, rows, given):
            return None
        tx.after_commit(lambda: self._submitter.count(tasks))
        return list(tasks.ids)

    async def delete(self, task_class: TaskClass[Any], dedup_keys: Sequence[str]) -> int:
        """Deletes tasks by the keys they were added with, and returns how many. The keys stay taken for a window.

        What runs already is not stopped. Keys that are unknown, or whose tasks have ended, are passed over.
        """
        if violations := [*self._class_violations(task_class), *dedup_key_violations(dedup_keys, in_transaction=False)]:
            raise InvalidArgument(violations)
        queue_id, names = self.queue_ids[task_class.queue], self._names(task_class, dedup_keys)
        deleted = 0
        for first in range(0, len(names), _MOST_NAMES):
            deleted += await delete_names(self.db, queue_id, names[first : first + _MOST_NAMES])
        return deleted

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[Tx]:
        """A transaction on the caller's own connection whose adds are submitted and announced with its commit."""
        async with transaction_on(connection) as tx:
            yield tx

    async def _new_tasks(
        self,
        task_class: TaskClass[Any],
        payloads: Sequence[Message],
        fair_keys: list[int],
        *,
        dedup_keys: Sequence[str] | None,
        tx: Tx | None,
        delay: timedelta | None,
        eta: datetime | None,
        priority: Priority | None,
    ) -> NewTasks:
        """Raises InvalidArgument for whatever could not be delivered."""
        if len(fair_keys) != len(payloads):
            raise InvalidArgument.of("fair_keys", "must be as many as payloads")
        if dedup_keys is not None and len(dedup_keys) != len(payloads):
            raise InvalidArgument.of("dedup_keys", "must be as many as payloads")
        encoded = [payload.SerializeToString() for payload in payloads]
        urgency = task_class.priority if priority is None else priority
        if violations := [
            *self._class_violations(task_class),
            *kind_violations(task_class, in_transaction=tx is not None),
            *(due_time_violations(delay, eta) if delay is not None or eta is not None else ()),
            *payload_violations(task_class, payloads, encoded),
            *share_violations(fair_keys, urgency),
            *(dedup_key_violations(dedup_keys, in_transaction=tx is not None) if dedup_keys is not None else ()),
        ]:
            raise InvalidArgument(violations)
        return NewTasks(
            ids=await self._ids.take(len(payloads), tx),
            fair_keys=fair_keys,
            payloads=encoded,
            strand=strand_of(self.queue_ids[task_class.queue], priority=urgency),
            class_id=self.class_ids[task_class.name],
            header=_current_header(),
            delay=delay or None,
            eta=eta,
        )

    def _class_violations(self, task_class: TaskClass[Any]) -> Sequence[Violation]:
        if self._classes.get(task_class.name) is not task_class:
            return [Violation("task_class", f"`{task_class.name}` was not given to this dispatcher")]
        return ()

    def _names(self, task_class: TaskClass[Any], dedup_keys: Sequence[str]) -> list[UUID]:
        return [name_of(self._namespace, task_class.name, key) for key in dedup_keys]

    async def _submit_named(
        self, task_class: TaskClass[Any], tasks: NewTasks, dedup_keys: Sequence[str]
    ) -> list[int | None]:
        first = {key: n for n, key in reversed([*enumerate(dedup_keys)])}  # a key given twice adds once
        chosen = sorted(first.values())
        names = self._names(task_class, [dedup_keys[n] for n in chosen])
        queue_id = self.queue_ids[task_class.queue]
        added = await self._submitter.submit_named(queue_id, names, tasks.only(chosen))
        return [task_id if task_id in added else None for task_id in tasks.ids]


def _current_header() -> bytes | None:
    return _header(current_traceparent())


def _header(traceparent: str | None) -> bytes | None:
    return TaskHeader(traceparent=traceparent).encode() if traceparent else None


@asynccontextmanager
async def open_dispatcher(
    db: Database,
    *,
    classes: Sequence[TaskClass[Any]],
    clock: Clock | None = None,
    notify: bool = True,
    namespace: str = "",
    queues: Sequence[QueueSettings] = (),
) -> AsyncIterator[Dispatcher]:
    """Creates the queues and classes where missing, and sends wake-ups as long as the block lasts.

    The settings of `queues` are stored for all processes; those of queues that are not named stay as they are.
    `namespace` keeps the dedup keys of programs apart that share a database and class names. Waits for a database that
    is away. Raises InvalidArgument, also for two classes of one name or one payload type.
    """
    check_classes(classes)
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidArgument.of("namespace", "must be empty, or a letter or _ and up to 49 letters, digits or _")
    names = {task_class.queue for task_class in classes}
    check_queue_settings(queues, names)
    clock = clock or SystemClock()
    queue_ids = await patiently(lambda: ensure_queues(db, sorted(names)), clock)
    await patiently(lambda: store_queue_settings(db, queues), clock)
    class_ids = await patiently(lambda: ensure_classes(db, [task_class.name for task_class in classes]), clock)
    wake_ups = WakeUps(db, clock, notify=notify)
    sender = asyncio.ensure_future(wake_ups.run())
    try:
        yield Dispatcher(db, classes, queue_ids, class_ids, wake_ups, clock=clock, namespace=namespace)
    finally:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender
