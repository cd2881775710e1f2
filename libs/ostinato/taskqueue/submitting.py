"""Writes new tasks, with a transaction or by themselves, and tells workers of them once they are committed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ostinato.clock import Clock
from ostinato.errors import CommitOutcomeUnknown, Unavailable
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.embedded.name_store import insert_named
from ostinato.taskqueue.embedded.ready_store import NewTasks, insert_tasks
from ostinato.taskqueue.flood_diversion import FloodDiversion
from ostinato.taskqueue.grouped_calls import GroupedCalls
from ostinato.taskqueue.wake_up import WakeUps

_MOST_GROUPED_BYTES = 16 << 10  # payloads above go alone, so that a group is no statement of gigabytes


class Submitter:
    """`added`: tasks by class id that were committed; on a caller's own transaction: inserted."""

    def __init__(self, db: Database, wake_ups: WakeUps, clock: Clock, class_ids: Sequence[int]) -> None:
        self.added = dict.fromkeys(class_ids, 0)
        self._db = db
        self._wake_ups = wake_ups
        self._clock = clock
        self._diversion = FloodDiversion(clock)
        self._add_grouped = GroupedCalls(self._insert_group, parallel=2)

    async def submit_named(self, queue_id: int, names: Sequence[UUID], tasks: NewTasks) -> set[int]:
        """The ids of those whose names were free. `names` are all different."""
        parts = self._diversion.split(tasks)
        strands = {task_id: part.strand for part in parts for task_id in part.ids}
        added = await insert_named(self._db, queue_id, names, tasks, [strands[task_id] for task_id in tasks.ids])
        self._announce([part.only([n for n, task_id in enumerate(part.ids) if task_id in added]) for part in parts])
        return added

    async def submit(self, tasks: NewTasks, tx: Tx | None) -> None:
        """With `tx` they exist if and only if it commits."""
        parts = self._diversion.split(tasks)
        if tx is None:
            await self._submit_at_once(parts)
        elif tx.foreign:
            await insert_tasks(tx, parts)
            tx.after_commit(lambda: self._announce(parts))  # where nobody runs hooks it is found by polling
            self.added[tasks.class_id] += len(tasks.ids)
        else:
            tx.before_commit(self, self._flush)
            tx.buffers.setdefault(self, []).extend(parts)

    async def _submit_at_once(self, parts: Sequence[NewTasks]) -> None:
        """Small adds of concurrent callers share one statement and one commit."""
        tasks = parts[0]
        if tasks.is_later or len(parts) > 1 or len(tasks.ids) > 1 or len(tasks.payloads[0]) > _MOST_GROUPED_BYTES:
            await insert_tasks(self._db, parts)
            self._announce(parts)
        elif (failure := await self._add_grouped(tasks)) is not None:
            raise type(failure)(str(failure)) from failure

    async def _insert_group(self, adds: Sequence[NewTasks]) -> list[Unavailable | CommitOutcomeUnknown | None]:
        """A group without an answer may have been written: it is told to all and not tried again one by one."""
        try:
            await insert_tasks(self._db, adds)
        except (Unavailable, CommitOutcomeUnknown) as error:
            return [error] * len(adds)
        self._announce(adds)
        return [None] * len(adds)

    async def _flush(self, tx: Tx) -> None:
        adds: list[NewTasks] = tx.buffers.pop(self, [])
        await insert_tasks(tx, adds)
        tx.after_commit(lambda: self._announce(adds))

    def count(self, tasks: NewTasks) -> None:
        """Tasks that were added otherwise."""
        self.added[tasks.class_id] += len(tasks.ids)

    def _announce(self, adds: Sequence[NewTasks]) -> None:
        if strands := {tasks.strand for tasks in adds if tasks.ids and not tasks.is_later}:
            self._wake_ups.ready(strands)
        for tasks in adds:
            self.count(tasks)
            if tasks.delay is not None:
                self._wake_ups.later(tasks.delay)
            elif tasks.eta is not None:
                self._wake_ups.later(tasks.eta - self._clock.now())  # by our own clock: it is a hint
