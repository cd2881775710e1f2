"""SQL of what is kept about pushed tasks: runs that are not to count, and dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ostinato.storage.database import Database
from ostinato.storage.transaction import affected
from ostinato.taskqueue.embedded.strand import strand_of

_EXCUSE = """
insert into tq_push_excuse as e (task_name, runs, last_at) values ($1, 1, ostinato_now())
    on conflict (task_name) do update set runs = e.runs + 1, last_at = ostinato_now()
"""


async def excuse_run(db: Database, task_name: str) -> None:
    """The run that ends now uses up no attempt."""
    await db.execute(_EXCUSE, task_name)


async def excused_runs(db: Database, task_name: str) -> int:
    return await db.fetchval("select runs from tq_push_excuse where task_name = $1", task_name) or 0


async def forget_excuses(db: Database, task_name: str) -> None:
    """The task has ended."""
    await db.execute("delete from tq_push_excuse where task_name = $1", task_name)


_FORGET_OLD = "delete from tq_push_excuse where last_at < (select ostinato_now()) - $1::interval"


async def forget_old_excuses(db: Database, age: timedelta) -> int:
    """Of tasks that were deleted where they waited, and never ended here."""
    return affected(await db.execute(_FORGET_OLD, age))


@dataclass(frozen=True, slots=True)
class PushedLetter:
    """`id` comes from the task's name: a task that is buried twice is one dead letter."""

    id: int
    task_name: str
    queue_id: int
    class_id: int
    attempt: int
    failures: int
    error: str
    payload: bytes
    header: bytes | None


_BURY = """
with forgotten as (delete from tq_push_excuse where task_name = $9)
insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload, header)
values ($1, ostinato_now(), $2, 0, $3, $4, $5, 0, $6, $7, $8)
    on conflict (id) do nothing
"""
_MOST = 32767


async def bury_pushed(db: Database, letter: PushedLetter) -> None:
    await db.execute(
        _BURY,
        letter.id,
        strand_of(letter.queue_id),
        letter.class_id,
        min(letter.attempt, _MOST),
        min(letter.failures, _MOST),
        letter.error.replace("\0", ""),
        letter.payload,
        letter.header,
        letter.task_name,
    )
