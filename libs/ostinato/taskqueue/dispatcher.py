"""Adds tasks: in the caller's transaction, or in one of their own.

In our own transactions adds are buffered and written by one INSERT directly before COMMIT. Whatever could make an
add impossible is refused in `add`, before anything is buffered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from ostinato.clock import Clock, SystemClock
from ostinato.errors import InvalidArgument, Violation
from ostinato.storage.database import Database, transaction_on
from ostinato.storage.transaction import Connection, Tx
from ostinato.taskqueue.embedded.queue_store import ensure_classes, ensure_queues
from ostinato.taskqueue.embedded.ready_store import NewTask, draw_id_blocks, insert_tasks
from ostinato.taskqueue.embedded.strand import strand_of
from ostinato.taskqueue.task_class import P, TaskClass, TaskKind
from ostinato.taskqueue.task_header import TaskHeader
from ostinato.taskqueue.wake_up import WakeUps
from ostinato.telemetry.tracing import current_traceparent

MAX_PAYLOAD_BYTES = 1 << 20
_ID_BLOCK = 1000


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
        self._check(task_class, [payload], tx=tx, delay=delay, eta=eta)
        (task_id,) = await self._take_ids(1)
        header = _current_header()
        task = self._new_task(task_id, task_class, payload, header, delay=delay, eta=eta, fair_key=fair_key)
        await self._submit([task], tx)
        return task_id

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
        self._check(task_class, payloads, tx=tx, delay=delay, eta=eta)
        keys = fair_keys if fair_keys is not None else [0] * len(payloads)
        ids = await self._take_ids(len(payloads))
        header = _current_header()
        tasks = [
            self._new_task(task_id, task_class, payload, header, delay=delay, eta=eta, fair_key=key)
            for task_id, payload, key in zip(ids, payloads, keys, strict=True)
        ]
        await self._submit(tasks, tx)
        return ids

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[Tx]:
        """A transaction on the caller's own connection whose adds are submitted and announced with its commit."""
        async with transaction_on(connection) as tx:
            yield tx

    def _check(
        self,
        task_class: TaskClass[Any],
        payloads: Sequence[Message],
        *,
        tx: Tx | None,
        delay: timedelta | None,
        eta: datetime | None,
    ) -> None:
        violations: list[Violation] = []
        if self._classes.get(task_class.name) is not task_class:
            violations.append(Violation("task_class", f"`{task_class.name}` was not given to this dispatcher"))
        if tx is None and task_class.kind is TaskKind.TRANSACTIONAL:
            violations.append(Violation("tx", f"`{task_class.name}` must be added in a transaction"))
        if tx is not None and task_class.kind is TaskKind.NON_TRANSACTIONAL:
            violations.append(Violation("tx", f"`{task_class.name}` must not be added in a transaction"))
        if delay is not None and eta is not None:
            violations.append(Violation("delay", "give a delay or an eta, not both"))
        if delay is not None and delay < timedelta(0):
            violations.append(Violation("delay", "must not be negative"))
        if eta is not None and eta.tzinfo is None:
            violations.append(Violation("eta", "must be an aware datetime"))
        violations += [v for payload in payloads for v in _payload_violations(task_class, payload)]
        if violations:
            raise InvalidArgument(violations)

    def _new_task(
        self,
        task_id: int,
        task_class: TaskClass[Any],
        payload: Message,
        header: bytes | None,
        *,
        delay: timedelta | None,
        eta: datetime | None,
        fair_key: int,
    ) -> NewTask:
        return NewTask(
            id=task_id,
            strand=strand_of(self.queue_ids[task_class.queue]),
            fair_key=fair_key,
            class_id=self.class_ids[task_class.name],
            payload=payload.SerializeToString(),
            header=header,
            delay=delay or None,
            eta=eta,
        )

    async def _submit(self, tasks: Sequence[NewTask], tx: Tx | None) -> None:
        if tx is None:
            await insert_tasks(self.db, tasks)
            self._announce(tasks)
        elif tx.foreign:
            await insert_tasks(tx, tasks)  # found by polling: nobody tells us of the commit
        else:
            tx.before_commit(self, self._flush)
            tx.buffers.setdefault(self, []).extend(tasks)

    async def _flush(self, tx: Tx) -> None:
        tasks: list[NewTask] = tx.buffers.pop(self, [])
        await insert_tasks(tx, tasks)
        tx.after_commit(lambda: self._announce(tasks))

    def _announce(self, tasks: Sequence[NewTask]) -> None:
        if strands := {task.strand for task in tasks if not task.is_later}:
            self.wake_ups.ready(strands)
        for task in tasks:
            if task.delay is not None:
                self.wake_ups.later(task.delay)

    async def _take_ids(self, count: int) -> list[int]:
        """Ids come in blocks from a sequence, so that they are known before the INSERT without a round trip each."""
        while len(self._free_ids) < count:
            await self._draw_ids(count)
        taken = self._free_ids[-count:]
        del self._free_ids[-count:]
        return taken

    async def _draw_ids(self, count: int) -> None:
        async with self._drawing:
            if (missing := count - len(self._free_ids)) > 0:
                blocks = -(-missing // _ID_BLOCK)
                for first in await draw_id_blocks(self.db, blocks):
                    self._free_ids += range(first, first + _ID_BLOCK)


def _current_header() -> bytes | None:
    traceparent = current_traceparent()
    return TaskHeader(traceparent=traceparent).encode() if traceparent else None


def _payload_violations(task_class: TaskClass[Any], payload: Message) -> list[Violation]:
    if not isinstance(payload, task_class.payload):
        return [Violation("payload", f"`{task_class.name}` takes {task_class.payload.__name__}")]
    if payload.ByteSize() > MAX_PAYLOAD_BYTES:
        return [Violation("payload", f"must be at most {MAX_PAYLOAD_BYTES} bytes")]
    return []


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
