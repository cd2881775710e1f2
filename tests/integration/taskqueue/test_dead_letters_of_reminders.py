"""Tasks that a remote queue refused for too long are dead letters beside the others."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, list_dead_letters, purge_dead_letters, purge_old_dead_letters
from ostinato.taskqueue.cloud_tasks.remote_names import number_of
from ostinato.taskqueue.dead_letters import find_dead_letter, parked_ids

IDS = [UUID(int=(n << 120) | n) for n in range(1, 6)]
HIGHEST = (1 << 63) - 1


@pytest.fixture(autouse=True)
async def parked(database: Database, dispatcher: Dispatcher) -> None:
    """Five, one day apart, the first one newest; between the second and the third a task died."""
    await database.execute(
        "insert into tq_parked_reminder (id, parked_at, task_class, queue, attempts, error, payload)"
        " select u.id, ostinato_now() - u.days * interval '1 day', 'letter', 'mail', 7, 'PERMISSION_DENIED: no', ''"
        "   from unnest($1::uuid[]) with ordinality u(id, days)",
        IDS,
    )
    await database.execute(
        "insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload)"
        " values (77, ostinato_now() - interval '60 hours', $1 << 9, 0, $2, 3, 3, 0, 'boom', '')",
        dispatcher.queue_ids["mail"],
        dispatcher.class_ids["letter"],
    )


def numbers(*ids: UUID) -> list[int]:
    return [number_of(each.hex) for each in ids]


async def test_both_kinds_are_listed_newest_first_page_by_page(database: Database) -> None:
    every = [*numbers(*IDS[:2]), 77, *numbers(*IDS[2:])]
    assert [letter.id for letter in await list_dead_letters(database)] == every
    seen: list[int] = []
    before = None
    while page := await list_dead_letters(database, before=before, limit=2):
        seen += [letter.id for letter in page]
        before = (page[-1].died_at, page[-1].id)
    assert seen == every
    assert await list_dead_letters(database, queue="stamps") == []


async def test_a_reminder_is_found_by_the_number_of_its_task(database: Database) -> None:
    letter = await find_dead_letter(database, number_of(IDS[0].hex))
    assert letter is not None
    assert (letter.kind, letter.queue, letter.class_name, letter.attempts) == ("reminder", "mail", "letter", 7)
    assert (await find_dead_letter(database, 77) or letter).kind == "task"
    for unknown in (0, -1, 78, HIGHEST, HIGHEST + 1, 1 << 70):
        if -1 <= unknown <= HIGHEST:
            assert await find_dead_letter(database, unknown) is None
        assert await parked_ids(database, [unknown]) == []


async def test_both_kinds_are_purged_by_id_and_by_age(database: Database) -> None:
    assert await purge_dead_letters(database, [*numbers(IDS[0], IDS[0]), 77, 5]) == 2
    assert await purge_old_dead_letters(database, queue="mail", older_than=timedelta(days=3, hours=12)) == 2
    assert [letter.id for letter in await list_dead_letters(database)] == numbers(IDS[1], IDS[2])
    assert await purge_old_dead_letters(database) == 2


async def test_without_a_remote_queue_a_reminder_is_not_requeued(database: Database, dispatcher: Dispatcher) -> None:
    assert await dispatcher.requeue_dead_letters([*numbers(IDS[0]), 77]) == 1
    assert len(await list_dead_letters(database)) == 5
