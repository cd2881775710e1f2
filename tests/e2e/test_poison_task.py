"""A task that kills every process it runs in: it is singled out, and what was beside it runs to its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.storage.database import Database
from ostinato.taskqueue import DeadLetter, list_dead_letters, open_dispatcher
from tests.e2e.poisoned_process import NUMBERED, POISON
from tests.e2e.ways import only_embedded

pytestmark = only_embedded(
    "deaths are charged to what a worker had claimed; Cloud Tasks hears of no death, only of no answer"
)

NUMBERS = range(20)


async def dead_letters_after_restarts(db: Database, environ: Mapping[str, str], *, most: int) -> list[DeadLetter]:
    """Starts the process anew whenever it died, until the task is a dead letter and nothing is left."""
    for _ in range(most):
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.e2e.poisoned_process", env=environ)
        try:
            async with asyncio.timeout(30):
                while process.returncode is None:
                    await asyncio.sleep(0.05)
                    if await db.fetchval("select count(*) from tq_ready") == 0 and (
                        dead := await list_dead_letters(db)
                    ):
                        return dead
                    # What was alone when its worker died waits for seconds, then for minutes.
                    await db.execute("update tq_later set due_at = ostinato_now() where due_at > ostinato_now()")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    raise AssertionError(f"not singled out by {most} deaths")


async def test_a_task_that_kills_its_process_is_singled_out_and_its_neighbours_end(
    database: Database, process_environ: Mapping[str, str]
) -> None:
    await database.execute("create table ended (number bigint, crashes int)")
    async with open_dispatcher(database, classes=[NUMBERED]) as dispatcher:
        await dispatcher.add_many(NUMBERED, [Int64Value(value=number) for number in NUMBERS])
    dead = await dead_letters_after_restarts(database, process_environ, most=6)
    assert [(Int64Value.FromString(found.payload).value, found.error) for found in dead] == [
        (POISON, "its worker died 3 times in a row")
    ]
    ended = await database.fetch("select number, crashes from ended")
    assert {row["number"] for row in ended} == {*NUMBERS} - {POISON}
    assert max(row["crashes"] for row in ended) == 2  # never charged with a death while the poison ran alone
