"""Adds tasks: in the caller's transaction, or in one of their own.

In our own transactions adds are buffered and written by one INSERT directly before COMMIT. Whatever could make an
add impossible is refused in `add`, before anything is buffered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from ostinato.clock import Clock, SystemClock
from ostinato.errors import InvalidArgument, Unavailable, Violation
from ostinato.storage.database import Database, transaction_on
from ostinato.storage.transaction import Connection, Tx
from ostinato.taskqueue.embedded.queue_store import ensure_classes, ensure_queues
from ostinato.taskqueue.embedded.ready_store import Executor, NewTasks, draw_id_blocks, insert_tasks
from ostinato.taskqueue.embedded.strand import strand_of
from ostinato.taskqueue.grouped_calls import GroupedCalls
from ostinato.taskqueue.task_class import P, TaskClass, TaskKind
from ostinato.taskqueue.task_header import TaskHeader
from ostinato.taskqueue.wake_up import WakeUps
from ostinato.telemetry.tracing import current_traceparent

MAX_PAYLOAD_BYTES = 1 << 20
_ID_BLOCK = 1000
_MOST_GROUPED_BYTES = 16 << 10  # payloads above go alone, so that a group is no statement of gigabytes


class Dispatcher:
    """The submitting side. Build it with `open_dispatcher`."""

    def __init__(
        self,
        db: Database,
        classes: Sequence[TaskClass[Any]],
        queue_ids: Mapping[str, int],
        class_ids: Mapping[str, int],
        wake_ups: WakeUps,
    ) -> None:
        self.db = db
        self.wake_ups = wake_ups
        self.queue_ids = dict(queue_ids)
        self.class_ids = dict(class_ids)
        self._classes = {task_class.name: task_class for task_class in classes}
        self._free_ids: list[int] = []
        self._drawing = asyncio.Lock()
        self._add_grouped = GroupedCalls(self._insert_group, parallel=2)

    async def add(
        self,
        task_class: TaskClass[P],
        payload: P,
        *,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_key: int = 0,
    ) -> int:
        """Adds one task and returns its id. With `tx` it exists if and only if the transaction commits.

        `delay` counts from the insert, by the database's clock; `eta` is absolute. Raises InvalidArgument.
        """
        tasks = await self._new_tasks(task_class, [payload], [fair_key], tx=tx, delay=delay, eta=eta)
        await self._submit(tasks, tx)
        return tasks.ids[0]

    async def add_many(
        self,
        task_class: TaskClass[P],
        payloads: Sequence[P],
        *,
        tx: Tx | None = None,
        delay: timedelta | None = None,
        eta: datetime | None = None,
        fair_keys: Sequence[int] | None = None,
    ) -> list[int]:
        """Adds tasks of one class by one statement; ids in the order of `payloads`."""
        if not payloads:
            return []
        keys = [0] * len(payloads) if fair_keys is None else list(fair_keys)
        tasks = await self._new_tasks(task_class, payloads, keys, tx=tx, delay=delay, eta=eta)
        await self._submit(tasks, tx)
        return list(tasks.ids)

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
        tx: Tx | None,
        delay: timedelta | None,
        eta: datetime | None,
    ) -> NewTasks:
        """Raises InvalidArgument for whatever could not be delivered."""
        if len(fair_keys) != len(payloads):
            raise InvalidArgument.of("fair_keys", "must be as many as payloads")
        encoded = [payload.SerializeToString() for payload in payloads]
        if violations := [
            *self._class_violations(task_class, tx),
            *(_due_time_violations(delay, eta) if delay is not None or eta is not None else ()),
            *_payload_violations(task_class, payloads, encoded),
        ]:
            raise InvalidArgument(violations)
        return NewTasks(
            ids=await self._take_ids(len(payloads), tx),
            fair_keys=fair_keys,
            payloads=encoded,
            strand=strand_of(self.queue_ids[task_class.queue]),
            class_id=self.class_ids[task_class.name],
            header=_current_header(),
            delay=delay or None,
            eta=eta,
        )

    def _class_violations(self, task_class: TaskClass[Any], tx: Tx | None) -> Sequence[Violation]:
        if self._classes.get(task_class.name) is not task_class:
            return [Violation("task_class", f"`{task_class.name}` was not given to this dispatcher")]
        if tx is None and task_class.kind is TaskKind.TRANSACTIONAL:
            return [Violation("tx", f"`{task_class.name}` must be added in a transaction")]
        if tx is not None and task_class.kind is TaskKind.NON_TRANSACTIONAL:
            return [Violation("tx", f"`{task_class.name}` must not be added in a transaction")]
        return ()

    async def _submit(self, tasks: NewTasks, tx: Tx | None) -> None:
        if tx is None:
            await self._submit_at_once(tasks)
        elif tx.foreign:
            await insert_tasks(tx, [tasks])  # found by polling: nobody tells us of the commit
        else:
            tx.before_commit(self, self._flush)
            tx.buffers.setdefault(self, []).append(tasks)

    async def _submit_at_once(self, tasks: NewTasks) -> None:
        """Small adds of concurrent callers share one statement and one commit."""
        if tasks.is_later or len(tasks.ids) > 1 or len(tasks.payloads[0]) > _MOST_GROUPED_BYTES:
            await insert_tasks(self.db, [tasks])
            self._announce([tasks])
        elif (unanswered := await self._add_grouped(tasks)) is not None:
            raise Unavailable(str(unanswered)) from unanswered

    async def _insert_group(self, adds: Sequence[NewTasks]) -> list[Unavailable | None]:
        """A group without an answer may have been written: it is told to all and not tried again one by one."""
        try:
            await insert_tasks(self.db, adds)
        except Unavailable as error:
            return [error] * len(adds)
        self._announce(adds)
        return [None] * len(adds)

    async def _flush(self, tx: Tx) -> None:
        adds: list[NewTasks] = tx.buffers.pop(self, [])
        await insert_tasks(tx, adds)
        tx.after_commit(lambda: self._announce(adds))

    def _announce(self, adds: Sequence[NewTasks]) -> None:
        if strands := {tasks.strand for tasks in adds if not tasks.is_later}:
            self.wake_ups.ready(strands)
        for tasks in adds:
            if tasks.delay is not None:
                self.wake_ups.later(tasks.delay)

    async def _take_ids(self, count: int, tx: Tx | None) -> list[int]:
        """Ids come in blocks from a sequence, so that they are known before the INSERT without a round trip each."""
        while len(self._free_ids) < count:
            if tx is None:
                await self._draw_ids_once(count)
            else:
                # On the caller's own connection and without the lock: whoever holds a connection and waits for
                # another one, or for somebody who does, waits for ever once all connections are held so.
                await self._draw_ids(tx, count)
        taken = self._free_ids[-count:]
        del self._free_ids[-count:]
        return taken

    async def _draw_ids_once(self, count: int) -> None:
        async with self._drawing:
            if len(self._free_ids) < count:
                await self._draw_ids(self.db, count)

    async def _draw_ids(self, executor: Executor, count: int) -> None:
        blocks = -(-(count - len(self._free_ids)) // _ID_BLOCK)
        for first in await draw_id_blocks(executor, blocks):
            self._free_ids += range(first, first + _ID_BLOCK)


def _current_header() -> bytes | None:
    traceparent = current_traceparent()
    return TaskHeader(traceparent=traceparent).encode() if traceparent else None


def _due_time_violations(delay: timedelta | None, eta: datetime | None) -> Iterator[Violation]:
    if delay is not None and eta is not None:
        yield Violation("delay", "give a delay or an eta, not both")
    if delay is not None and delay < timedelta(0):
        yield Violation("delay", "must not be negative")
    if eta is not None and eta.tzinfo is None:
        yield Violation("eta", "must be an aware datetime")


def _payload_violations(
    task_class: TaskClass[Any], payloads: Sequence[Message], encoded: Sequence[bytes]
) -> Sequence[Violation]:
    if {*map(type, payloads)} != {task_class.payload}:
        return [Violation("payload", f"`{task_class.name}` takes {task_class.payload.__name__}")]
    if max(map(len, encoded)) > MAX_PAYLOAD_BYTES:
        return [Violation("payload", f"must be at most {MAX_PAYLOAD_BYTES} bytes")]
    return ()


@asynccontextmanager
async def open_dispatcher(
    db: Database,
    *,
    classes: Sequence[TaskClass[Any]],
    clock: Clock | None = None,
    notify: bool = True,
) -> AsyncIterator[Dispatcher]:
    """Creates the queues and classes where missing, and sends wake-ups as long as the block lasts.

    Raises InvalidArgument for two classes of one name or one payload type.
    """
    _check_classes(classes)
    queue_ids = await ensure_queues(db, [task_class.queue for task_class in classes])
    class_ids = await ensure_classes(db, [task_class.name for task_class in classes])
    wake_ups = WakeUps(db, clock or SystemClock(), notify=notify)
    sender = asyncio.ensure_future(wake_ups.run())
    try:
        yield Dispatcher(db, classes, queue_ids, class_ids, wake_ups)
    finally:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender


def _check_classes(classes: Sequence[TaskClass[Any]]) -> None:
    for what, values in (
        ("name", [task_class.name for task_class in classes]),
        ("payload", [task_class.payload.DESCRIPTOR.full_name for task_class in classes]),
    ):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise InvalidArgument.of("classes", f"two task classes have the {what} {', '.join(twice)}")
