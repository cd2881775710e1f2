"""Tasks that the process which adds them starts itself: inserted as claimed, started directly after the commit.

Nobody is passed over: it is done only while the process would claim at once whatever comes to the queue. If the answer
to the commit is lost, they are freed like those of a claim whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ostinato.storage.transaction import Tx
from ostinato.taskqueue.embedded.claimed_insert_store import ClaimedRow, insert_claimed
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.strand import queue_of
from ostinato.taskqueue.task_class import TaskClass
from ostinato.taskqueue.task_context import TaskContext


class Handover:
    """From a dispatcher to the worker of its process. `tasks`: what that holds, while it has a lease."""

    def __init__(self) -> None:
        self.tasks: ClaimedTasks | None = None

    def has_room(self, class_id: int, count: int) -> bool:
        return self.tasks is not None and self.tasks.startable(class_id) >= count

    async def insert(
        self,
        tx: Tx,
        task_class: TaskClass[Any],
        rows: Sequence[ClaimedRow],
        given: Callable[[], Sequence[object]] | None,
    ) -> bool:
        """False: nothing was inserted. Else each task starts after the commit, with its part of what `given` tells."""
        tasks = self.tasks
        if tasks is None or tx.foreign or not rows or not self.has_room(rows[0].class_id, len(rows)):
            return False
        ids, class_id = [row.id for row in rows], rows[0].class_id
        if not tasks.expected.add(class_id, ids):
            return False
        tx.at_end(partial(_give_up, tasks, class_id, ids, tx))
        worker_id = tasks.lease.worker_id
        inserted = await insert_claimed(tx, worker_id, queue_of(rows[0].strand), rows)
        if not inserted:
            tasks.expected.remove(class_id, ids)
            return False
        parts = given() if given is not None else [None] * len(inserted)
        born = [TaskContext(row, worker_id, task_class, part) for row, part in zip(inserted, parts, strict=True)]
        tx.after_commit(partial(_accept, tasks, class_id, ids, born))
        return True


def _accept(tasks: ClaimedTasks, class_id: int, ids: Sequence[int], born: Sequence[TaskContext]) -> None:
    tasks.expected.remove(class_id, ids)
    tasks.accept_born(born)


def _give_up(tasks: ClaimedTasks, class_id: int, ids: Sequence[int], tx: Tx) -> None:
    """Nothing to do after a commit. Else they may be there all the same: its answer was lost."""
    if tasks.expected.remove(class_id, ids) and tx.in_doubt:
        tasks.claiming.in_doubt()
