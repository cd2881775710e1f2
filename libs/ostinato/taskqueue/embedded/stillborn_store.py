"""SQL that writes dead letters of what never waited in a queue of ours."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.taskqueue.embedded.ready_store import Executor
from ostinato.taskqueue.embedded.strand import strand_of


@dataclass(frozen=True, slots=True)
class StillbornTask:
    id: int
    queue_id: int
    class_id: int
    error: str
    payload: bytes


_INSERT = """
insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload, header)
values ($1, ostinato_now(), $2, 0, $3, 0, 0, 0, $4, $5, null)
"""


async def insert_stillborn(executor: Executor, task: StillbornTask) -> None:
    await executor.execute(_INSERT, task.id, strand_of(task.queue_id), task.class_id, task.error, task.payload)
