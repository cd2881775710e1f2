"""Adds tasks: in the caller's transaction, or in one of their own.

In our own transactions adds are buffered and written by one INSERT directly before COMMIT. Whatever could make an
add impossible is refused in `add`, before anything is buffered. A dispatcher needs no handlers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, overload
from uuid import UUID

from ostinato.clock import Clock
from ostinato.errors import InvalidArgument, Violation
from ostinato.storage.database import Database, transaction_on
from ostinato.storage.transaction import Connection, Tx
from ostinato.taskqueue.add_rules import dedup_key_violations, kind_violations
from ostinato.taskqueue.embedded.claimed_insert_store import ClaimedRow
from ostinato.taskqueue.embedded.handover import Handover
from ostinato.taskqueue.embedded.name_store import delete_names
from ostinato.taskqueue.embedded.ready_store import NewTasks
from ostinato.taskqueue.priority import Priority
from ostinato.taskqueue.remote_queue import RemoteAdd, RemoteQueue
from ostinato.taskqueue.requeueing import requeue_letters
from ostinato.taskqueue.submitting import Submitter
from ostinato.taskqueue.task_class import Backend, P, TaskClass
from ostinato.taskqueue.task_header import TaskHeader
from ostinato.taskqueue.task_ids import TaskIds
from ostinato.taskqueue.task_making import TaskMaker, picked_queue, picked_queues
from ostinato.taskqueue.task_name import name_of
from ostinato.taskqueue.task_options import TaskOptions
from ostinato.taskqueue.wake_up import WakeUps

_MOST_NAMES = 1000  # deleted by one statement
_NO_OPTIONS = TaskOptions()


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
        backend: Backend = Backend.EMBEDDED,
        remote: RemoteQueue | None = None,
    ) -> None:
        self.db = db
        self.wake_ups = wake_ups
        self.queue_ids = dict(queue_ids)
        self.class_ids = dict(class_ids)
        self._classes = {task_class.name: task_class for task_class in classes}
        self._namespace = namespace
        self._ids = TaskIds(db)
        self._maker = TaskMaker(self.queue_ids, self.class_ids, self._ids)
        self._submitter = Submitter(db, wake_ups, clock, list(self.class_ids.values()))
        self._remote = remote
        self._remote_classes = {
            name for name, each in self._classes.items() if (each.backend or backend) is Backend.CLOUD_TASKS
        }
        self.handover = Handover()

    @property
    def added(self) -> Mapping[TaskClass[Any], int]:
        """How many tasks of each class were added and committed; on a caller's own transaction: inserted."""
        added = self._submitter.added
        return {task_class: added[self.class_ids[name]] for name, task_class in self._classes.items()}

    @property
    def classes(self) -> Collection[TaskClass[Any]]:
        return self._classes.values()

    @property
    def queues(self) -> Sequence[str]:
        """The queues of all classes, each once, sorted."""
        return sorted({queue for task_class in self._classes.values() for queue in task_class.queues})

    def is_remote(self, task_class: TaskClass[Any]) -> bool:
        """Whether its tasks are pushed here by another system."""
        return task_class.name in self._remote_classes

    def remote_of(self, task_class: TaskClass[Any]) -> RemoteQueue | None:
        """Where its tasks wait; None: here."""
        return self._remote if task_class.name in self._remote_classes else None

    def remote_of_queue(self, queue: str) -> RemoteQueue | None:
        """Likewise, of the queue's tasks."""
        remote = any(queue in self._classes[name].queues for name in self._remote_classes)
        return self._remote if remote else None

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
        options: TaskOptions | None = None,
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
        options: TaskOptions | None = None,
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
        options: TaskOptions | None = None,
    ) -> int | None:
        """Adds one task and returns its id. With `tx` it exists if and only if the transaction commits.

        `delay` counts from the insert, by the database's clock (on its way to a remote queue from `tx.now()`); `eta` is
        absolute. Tasks of one `fair_key` (0: none) can't hold up those of others; `priority` is the class's where none
        is given; a remote queue knows neither.
        With `dedup_key`, only outside a transaction, None means that the class has a task of this key which has not
        ended, or ended less than the queue's window (1 h) ago; then nothing was added. Raises InvalidArgument, and
        CommitOutcomeUnknown for an add of its own whose answer was lost.
        """
        keys = [dedup_key] if dedup_key is not None else None
        self._check_class(task_class)
        if self._goes_elsewhere(task_class, options):
            remote = RemoteAdd(task_class, [payload], keys, delay, eta, options or _NO_OPTIONS, self._namespace)
            return (await self._add_remote(remote, tx))[0]
        tasks = await self._maker.make(
            task_class,
            task_class.queue or picked_queue(task_class, payload),
            [payload],
            [fair_key],
            dedup_keys=keys,
            tx=tx,
            delay=delay,
            eta=eta,
            priority=priority,
            options=options,
        )
        if keys is not None:
            return (await self._submit_named(task_class, tasks, keys, options))[0]
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
        options: TaskOptions | None = None,
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
        options: TaskOptions | None = None,
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
        options: TaskOptions | None = None,
    ) -> Sequence[int | None]:
        """Adds tasks of one class by one statement per queue; ids in the order of `payloads`, `dedup_keys` as in `add`.

        Outside a transaction a remote queue is asked for each task, in batches of 100 per queue, several at once: when
        it fails, some of them may have been added.
        """
        self._check_class(task_class)
        for name, values in (("fair_keys", fair_keys), ("dedup_keys", dedup_keys)):
            if values is not None and len(values) != len(payloads):
                raise InvalidArgument.of(name, "must be as many as payloads")
        if not payloads:
            return []
        if self._goes_elsewhere(task_class, options):
            remote = RemoteAdd(task_class, payloads, dedup_keys, delay, eta, options or _NO_OPTIONS, self._namespace)
            return await self._add_remote(remote, tx)
        make = partial(self._maker.make, task_class, tx=tx, delay=delay, eta=eta, priority=priority, options=options)
        fair = [0] * len(payloads) if fair_keys is None else list(fair_keys)
        if task_class.queue:
            tasks = await make(task_class.queue, payloads, fair, dedup_keys=dedup_keys)
            return await self._submit(task_class, tasks, dedup_keys, tx, options)
        made = []  # all of them, before any is submitted
        for queue, chosen in picked_queues(task_class, payloads).items():
            keys = [dedup_keys[n] for n in chosen] if dedup_keys is not None else None
            picked = [payloads[n] for n in chosen]
            made.append((chosen, keys, await make(queue, picked, [fair[n] for n in chosen], dedup_keys=keys)))
        ids: list[int | None] = [None] * len(payloads)
        for chosen, keys, tasks in made:
            for n, task_id in zip(chosen, await self._submit(task_class, tasks, keys, tx, options), strict=True):
                ids[n] = task_id
        return ids

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
        if not task_class.queue or task_class.name in self._remote_classes:
            return None
        if not self.handover.has_room(self.class_ids[task_class.name], len(payloads)):
            return None
        tasks = await self._maker.make(
            task_class,
            task_class.queue,
            payloads,
            list(fair_keys),
            dedup_keys=None,
            tx=tx,
            delay=None,
            eta=None,
            priority=None,
            options=None,
        )
        headers = {trace: TaskHeader(traceparent=trace or "").encode() for trace in set(traceparents)}
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

    async def delete(self, task_class: TaskClass[Any], dedup_keys: Sequence[str], *, name_prefix: str = "") -> int:
        """Deletes tasks by the keys they were added with, and returns how many. The keys stay taken for a window.

        What runs already is not stopped. Keys that are unknown, or whose tasks have ended, are passed over.
        """
        self._check_class(task_class)
        if violations := [*dedup_key_violations(dedup_keys, in_transaction=False)]:
            raise InvalidArgument(violations)
        if self._remote is not None and task_class.name in self._remote_classes:
            return await self._remote.delete(task_class, dedup_keys, name_prefix, namespace=self._namespace)
        names = self._names(task_class, dedup_keys, name_prefix)
        deleted = 0
        for queue in task_class.queues:
            for first in range(0, len(names), _MOST_NAMES):
                deleted += await delete_names(self.db, self.queue_ids[queue], names[first : first + _MOST_NAMES])
        return deleted

    async def requeue_dead_letters(self, ids: Sequence[int]) -> int:
        """Puts them back with fresh attempts, where tasks of their class wait now; unknown ids are passed over."""
        remote = {name: self._classes[name] for name in self._remote_classes}
        sent, strands = await self.db.transact(lambda tx: requeue_letters(tx, ids, remote, self._remote))
        if strands:
            self.wake_ups.ready(strands)
        return sent + len(strands)

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[Tx]:
        """A transaction on the caller's own connection whose adds are submitted and announced with its commit."""
        async with transaction_on(connection) as tx:
            yield tx

    def _check_class(self, task_class: TaskClass[Any]) -> None:
        if self._classes.get(task_class.name) is not task_class:
            raise InvalidArgument.of("task_class", f"`{task_class.name}` was not given to this dispatcher")

    def _goes_elsewhere(self, task_class: TaskClass[Any], options: TaskOptions | None) -> bool:
        return task_class.name in self._remote_classes and not (options is not None and options.here)

    async def _add_remote(self, tasks: RemoteAdd, tx: Tx | None) -> list[int | None]:
        assert self._remote is not None
        task_class = tasks.task_class
        violations: list[Violation] = [*kind_violations(task_class, in_transaction=tx is not None)]
        if tasks.dedup_keys is not None:
            violations += dedup_key_violations(tasks.dedup_keys, in_transaction=tx is not None)
        if violations:
            raise InvalidArgument(violations)
        ids = await self._remote.add(tasks, tx)
        if tx is None or tx.foreign:
            self._count(task_class, len(ids) - ids.count(None))
        else:
            tx.after_commit(lambda: self._count(task_class, len(ids)))
        return ids

    def _count(self, task_class: TaskClass[Any], added: int) -> None:
        self._submitter.added[self.class_ids[task_class.name]] += added

    async def _submit(
        self,
        task_class: TaskClass[Any],
        tasks: NewTasks,
        dedup_keys: Sequence[str] | None,
        tx: Tx | None,
        options: TaskOptions | None,
    ) -> Sequence[int | None]:
        if dedup_keys is not None:
            return await self._submit_named(task_class, tasks, dedup_keys, options)
        await self._submitter.submit(tasks, tx)
        return list(tasks.ids)

    def _names(self, task_class: TaskClass[Any], dedup_keys: Sequence[str], prefix: str) -> list[UUID]:
        return [name_of(self._namespace, task_class.name, key, prefix) for key in dedup_keys]

    async def _submit_named(
        self, task_class: TaskClass[Any], tasks: NewTasks, dedup_keys: Sequence[str], options: TaskOptions | None
    ) -> list[int | None]:
        first = {key: n for n, key in reversed([*enumerate(dedup_keys)])}  # a key given twice adds once
        chosen = sorted(first.values())
        prefix = options.name_prefix if options is not None else ""
        names = self._names(task_class, [dedup_keys[n] for n in chosen], prefix)
        added = await self._submitter.submit_named(tasks.strand >> 9, names, tasks.only(chosen))
        return [task_id if task_id in added else None for task_id in tasks.ids]
