"""What the api reads, it reads by index: also on tables that were analysed while they were empty."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from ostinato.jobstore import invocation_listing_store, job_listing_store, job_store, watch_store
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.testing.postgres import fresh_database

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Partitions without rows are scanned, which costs nothing.
LARGE_SCAN = re.compile(r"Seq Scan on (job|job_cron|invocation_\w+) .*actual time=\S+ rows=(?!0(\.00)? )")
TABLES = ("project", "job", "job_cron", "invocation", "invocation_history", "invocation_input", "invocation_log")
FILL = (
    "insert into project (name, created_at, updated_at) select 'p' || n, now(), now() from generate_series(1, 50) n",
    """
    insert into job (project_id, project, name, realm, managed_by, definition, enabled, created_at, updated_at)
    select p.project_id, p.name, 'j' || n, '@legacy', 1, '', true, now(), now()
      from project p cross join generate_series(1, 400) n
    """,
    """
    insert into job_cron (job_id, project_id, job_name, schedule, enabled, generation)
    select job_id, project_id, name, 'triggered', true, 1 from job
    """,
    # The newest id is the smallest: these go into this week's partition, all after the first id of the week before.
    """
    insert into invocation_history (invocation_id, job_id, project_id, status, attempt, launch_attempts, created_at,
                                    finished_at, deadline_at, triggered_by, revision, view_url, error_reason,
                                    error_message, error_retryable)
    select first_id + n, n % 100, 1, 4, 1, 1, now(), now(), now(), '', '', '', '', '', false
      from (select ((8796093022207 - extract(epoch from now() - timestamptz '2015-01-01Z')::bigint * 1000) << 20) as
                   first_id) newest
     cross join generate_series(1, 20000) n
    """,
    """
    insert into invocation_input (invocation_id, job_name, job_uid, definition, incoming)
    select invocation_id, '', gen_random_uuid(), '', '' from invocation_history
    """,
    """
    insert into invocation_log (invocation_id, version, line_no, at, line)
    select invocation_id, 1, 0, now(), 'a line' from invocation_history
    """,
)


@pytest_asyncio.fixture(params=["analysed while empty", "analysed when full"], scope="module", loop_scope="module")
async def filled(
    postgres_server_url: str, database_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """One for all of these tests, which only read."""
    async with (
        fresh_database(postgres_server_url, database_template) as url,
        open_database(DatabaseSettings(url, application_name="test")) as database,
    ):
        if request.param == "analysed while empty":
            for table in TABLES:
                await database.execute(f"vacuum analyze {table}")
        for statement in FILL:
            await database.execute(statement)
        if request.param == "analysed when full":
            await database.execute("analyze")
        yield database


@pytest.mark.parametrize(
    ("sql", "arguments"),
    [
        (job_listing_store._FIND_ONE, ("p7", "j7")),
        (job_listing_store._FIND, (["p7"] * 3, ["j1", "j2", "j3"])),
        (job_listing_store._SCOPE, (["p7"] * 3, ["j1", "j2", "j3"])),
        (job_listing_store._PAGE, (["p7", "p8"], [True, False], "p7", "j3", ["p8"], ["@legacy"], 101)),
        (job_store._FIND, (["p7"] * 3, ["j1", "j2", "j3"])),
        (job_store._LOCK, ([1, 2, 3],)),
        (invocation_listing_store._PAGE, (7, 0, 101, 1_000_000)),
        (invocation_listing_store._FIND, (7,)),
        (invocation_listing_store._ACTIVE, (7, 100)),
        (invocation_listing_store._ENDED, (7, datetime(2026, 3, 1, tzinfo=UTC))),
    ],
    ids=["job", "jobs", "scopes", "page of jobs", "rows", "locks", "page of runs", "run", "active runs", "ended run"],
)
async def test_no_large_table_is_scanned(filled: Database, sql: str, arguments: tuple) -> None:
    plan = [row[0] for row in await filled.fetch(f"explain (analyze) {sql}", *arguments)]
    assert [line.strip() for line in plan if LARGE_SCAN.search(line)] == []


@pytest.mark.parametrize(
    ("sql", "places"),
    [(watch_store._CHANGED, [[5] * 50]), (watch_store._LINES, [[0] * 50, [-1] * 50])],
    ids=["changes", "lines"],
)
async def test_a_look_at_watched_runs_reads_no_others(filled: Database, sql: str, places: list[list[int]]) -> None:
    ids = [row[0] for row in await filled.fetch("select invocation_id from invocation_history order by 1 limit 50")]
    plan = [row[0] for row in await filled.fetch(f"explain (analyze) {sql}", ids, *places)]
    assert [line.strip() for line in plan if LARGE_SCAN.search(line)] == []
    assert len(await filled.fetch(sql, ids, *places)) == 50
