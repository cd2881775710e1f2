"""All that was given up: tasks that failed for good, and tasks that a remote queue refused for too long (`reminder`).

Both have numbers out of one space, and are listed, requeued and purged together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import dead_letter_store
from ostinato.taskqueue.embedded.dead_letter_store import DeadLetter, LetterKind
from ostinato.taskqueue.embedded.ready_store import Executor
from ostinato.taskqueue.reminders import parked_store
from ostinato.taskqueue.reminders.parked_store import ParkedReminder

_NUMBERS = range(1 << 63)
_REST_BITS = 65  # of an id, behind its number


async def list_dead_letters(
    executor: Executor, *, queue: str | None = None, before: tuple[datetime, int] | None = None, limit: int = 100
) -> list[DeadLetter]:
    """Newest first; `before` is (died_at, id) of the last one seen."""
    tasks = await dead_letter_store.list_dead_letters(executor, queue=queue, before=before, limit=limit)
    since = None if before is None else (before[0], _first_id(before[1]))
    parked = await parked_store.list_parked(executor, queue=queue, before=since, limit=limit)
    letters = [*tasks, *map(_letter_of, parked)]
    return sorted(letters, key=lambda letter: (letter.died_at, letter.id), reverse=True)[:limit]


async def find_dead_letter(executor: Executor, letter_id: int) -> DeadLetter | None:
    if (letter := await dead_letter_store.find_dead_letter(executor, letter_id)) is not None:
        return letter
    parked = await parked_store.find_parked(executor, _ranges([letter_id]))
    return _letter_of(parked[0]) if parked else None


async def purge_dead_letters(db: Database, ids: Sequence[int]) -> int:
    """Deletes them for good; unknown ids are passed over. Returns how many."""
    purged = await dead_letter_store.purge_dead_letters(db, ids)
    return purged + await parked_store.purge_parked(db, await parked_ids(db, ids))


async def parked_ids(executor: Executor, numbers: Sequence[int]) -> list[UUID]:
    """Of those among them that are reminders."""
    return [parked.id for parked in await parked_store.find_parked(executor, _ranges(numbers))]


def _letter_of(parked: ParkedReminder) -> DeadLetter:
    return DeadLetter(
        id=parked.id.int >> _REST_BITS,
        queue=parked.queue,
        class_name=parked.task_class,
        died_at=parked.parked_at,
        attempts=parked.attempts,
        failures=parked.attempts,
        error=parked.error,
        payload=parked.payload,
        header=None,
        kind=LetterKind.REMINDER,
    )


def _ranges(numbers: Iterable[int]) -> list[tuple[UUID, UUID]]:
    return [(_first_id(n), UUID(int=(n + 1 << _REST_BITS) - 1)) for n in {*numbers} if n in _NUMBERS]


def _first_id(number: int) -> UUID:
    return UUID(int=min(max(number, 0), _NUMBERS[-1]) << _REST_BITS)
