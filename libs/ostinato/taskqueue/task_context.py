"""A claimed task as its handler sees it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from google.protobuf.message import Message
from opentelemetry.trace import Span

from ostinato.errors import StaleLease
from ostinato.storage.transaction import Row, Tx
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.ready_store import Fence
from ostinato.taskqueue.task_class import Retry, TaskClass
from ostinato.taskqueue.task_flags import ALONE, CRASH, NAMED, SUSPECT_FROM, crashes_of
from ostinato.taskqueue.task_header import TaskHeader, decode_header
from ostinato.telemetry.tracing import traceparent_of

TaskRow: TypeAlias = "Row | tuple[Any, ...]"
PUSHED = 0  # instead of a worker's id: no row of ours is claimed, its sender waits for the answer


class TaskContext:
    """One claim of one task, or one push of it. Built by worker and receiver only."""

    __slots__ = (
        "_payload",
        "_row",
        "completed",
        "given",
        "overdue",
        "settled",
        "span",
        "started_at",
        "task_class",
        "worker_id",
    )

    def __init__(
        self, row: TaskRow, worker_id: int, task_class: TaskClass[Any] | None, given: object | None = None
    ) -> None:
        """`given`: what this process had at hand when it added the task and claimed it at once."""
        self._row = row
        self._payload: Message | None = None
        self.worker_id = worker_id
        self.task_class = task_class
        self.given = given
        self.completed = False  # its row was deleted by a transaction that committed
        self.overdue = False
        self.settled = False  # its outcome was taken; a second one is a bug of ours or a late cancellation
        self.started_at = 0.0
        self.span: Span | None = None  # of the run under way, where its trace is recorded

    @property
    def id(self) -> int:
        return int(self._row[1])

    @property
    def fence(self) -> Fence:
        return self._row[0], self._row[1]

    @property
    def strand(self) -> int:
        return int(self._row[2])

    @property
    def eta(self) -> datetime:
        """When the task was due."""
        at: datetime = self._row[4] or self._row[3]
        return at

    @property
    def class_id(self) -> int:
        class_id: int = self._row[6]
        return class_id

    @property
    def class_name(self) -> str:
        return self.task_class.name if self.task_class else f"class {self.class_id}"

    @property
    def label(self) -> str:
        """For logs: which task, its title, and by the whole numbers in its payload, what it is about. Texts may be
        secret, and of a quiet class everything is.
        """
        title = [self.header.title] if self._row[10] is not None and self.header.title else []
        if self.task_class is not None and self.task_class.quiet:
            numbers = []
        else:
            numbers = [f"{field.name} {value}" for field, value in self.payload.ListFields() if type(value) is int]
        return f"{self.id} ({', '.join([self.class_name, *title, *numbers])})"

    @property
    def queue(self) -> str:
        return self.task_class.queue if self.task_class else ""

    @property
    def attempt(self) -> int:
        """1 for the first claim."""
        return int(self._row[7])

    @property
    def failures(self) -> int:
        """Runs before this one that failed and used up an attempt."""
        return int(self._row[8])

    @property
    def is_named(self) -> bool:
        return bool(self._row[9] & NAMED)

    @property
    def is_alone(self) -> bool:
        """It is marked as one that runs alone."""
        return bool(self._row[9] & ALONE)

    @property
    def is_suspect(self) -> bool:
        """It was held by two workers that died: it must run alone."""
        return bool(self._row[9] >= SUSPECT_FROM * CRASH)

    @property
    def crashes(self) -> int:
        """How many deaths of workers are charged to it since it last ran to an end."""
        return crashes_of(self._row[9])

    @property
    def is_pushed(self) -> bool:
        """A remote queue has the task, and hears by the answer how it ended."""
        return self.worker_id == PUSHED

    @property
    def retry(self) -> Retry:
        """Its own policy, or its class's."""
        assert self.task_class is not None
        return self.header.retry or self.task_class.retry

    @property
    def header(self) -> TaskHeader:
        return decode_header(self._row[10])

    @property
    def raw_header(self) -> bytes | None:
        data: bytes | None = self._row[10]
        return data

    @property
    def traceparent(self) -> str | None:
        """The trace that this run, and whatever follows from it, belongs to."""
        if self.span is not None:
            return traceparent_of(self.span.get_span_context())
        return self.header.traceparent or None if self._row[10] is not None else None

    @property
    def payload(self) -> Any:
        """The decoded message. Raises DecodeError for bytes that are not one; the worker tries before the handler."""
        if self._payload is None:
            if self.task_class is None:
                raise ValueError(f"no handler for {self.class_name}")
            self._payload = self.task_class.payload.FromString(self._row[11])
        return self._payload

    async def complete_in(self, tx: Tx) -> None:
        """Completes the task with `tx`: its effects and its end commit together, or neither does.

        A pushed task may come again after that: only what it does can tell that it was done before.
        """
        await complete_many_in(tx, [self])


async def complete_many_in(tx: Tx, tasks: Sequence[TaskContext]) -> None:
    """Completes all of one worker's tasks in `tx`; call it last. Raises StaleLease if any is no longer ours."""
    if not tasks:
        return
    if rows := [task for task in tasks if task.worker_id != PUSHED]:
        await _complete_rows(tx, rows)
    tx.after_commit(lambda: _mark_completed(tasks))


async def _complete_rows(tx: Tx, tasks: Sequence[TaskContext]) -> None:
    worker_id = tasks[0].worker_id
    count = 0
    if unnamed := [task.fence for task in tasks if not task.is_named]:
        count += await ready_store.complete(tx, worker_id, unnamed)
    if named := [task.fence for task in tasks if task.is_named]:
        count += await ready_store.complete_named(tx, worker_id, named)
    if count != len(tasks):
        raise StaleLease(f"{len(tasks) - count} of {len(tasks)} tasks are no longer this process's")


def _mark_completed(tasks: Sequence[TaskContext]) -> None:
    for task in tasks:
        task.completed = True
