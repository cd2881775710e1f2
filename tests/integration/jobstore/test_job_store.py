"""Rows of jobs and of their schedules: found by name, locked in order, written as sets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ostinato.jobstore.job_cron_store import JobCronRow, find_cron, lock_crons, save_cron_states, save_crons
from ostinato.jobstore.job_store import (
    JobEdit,
    JobId,
    ManagedBy,
    disable_jobs,
    find_job,
    find_jobs,
    insert_jobs,
    lock_job,
    lock_jobs,
    redefine_jobs,
    set_paused,
)
from ostinato.jobstore.project_store import create_project, find_project, lock_project
from ostinato.jobstore.schedule_span_store import ScheduleSpan, add_spans, load_spans
from ostinato.scheduling.cron_machine import CronState
from ostinato.storage.database import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def make_jobs(database: Database, *names: str) -> dict[str, JobId]:
    async with database.transaction() as tx:
        return await insert_jobs(
            tx,
            [JobEdit(name, "prod", name.encode()) for name in names],
            project_id=1,
            project="shop",
            managed_by=ManagedBy.CONFIG,
            revision="r1",
            revision_url="u1",
            now=NOW,
        )


async def test_new_jobs_are_enabled_and_found_by_name(database: Database) -> None:
    ids = await make_jobs(database, "b", "a")
    job = await find_job(database, ("shop", "a"))
    assert job is not None
    assert (job.job_id, job.resource_name, job.realm, job.definition) == (
        ids["a"],
        "projects/shop/jobs/a",
        "prod",
        b"a",
    )
    assert (job.enabled, job.paused, job.version, job.revision, job.last_status) == (True, False, 1, "r1", None)
    found = await find_jobs(database, [("shop", "b"), ("farm", "a"), ("shop", "a"), ("shop", "x")])
    assert [job.job_id for job in found] == sorted(ids.values())


async def test_every_edit_moves_the_version(database: Database) -> None:
    ids = await make_jobs(database, "a", "b")
    async with database.transaction() as tx:
        await redefine_jobs(tx, [JobEdit("a", "test", b"new")], project="shop", revision="r2", revision_url="", now=NOW)
        paused = await set_paused(tx, ids["a"], paused=True, reason="why", by="user:a", now=NOW)
        await disable_jobs(tx, [ids["a"]], now=NOW)
    job = await find_job(database, ("shop", "a"))
    assert job is not None
    assert (paused.version, job.version) == (3, 4)
    assert (job.definition, job.realm, job.revision, job.enabled) == (b"new", "test", "r2", False)
    assert (job.paused, job.pause_reason, job.paused_by, job.paused_at) == (True, "why", "user:a", NOW)
    untouched = await find_job(database, ("shop", "b"))
    assert untouched is not None
    assert untouched.version == 1


async def test_locked_jobs_are_waited_for_or_left_out(database: Database) -> None:
    ids = await make_jobs(database, "a", "b", "c")
    async with database.transaction() as holder:
        await lock_job(holder, ("shop", "b"))
        async with database.transaction() as tx:
            free = await lock_jobs(tx, list(ids.values()), skip_locked=True)
        waiting = asyncio.ensure_future(_lock_all(database, list(ids.values())))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert [job.name for job in free] == ["a", "c"]
    assert await waiting == sorted(ids.values())


async def _lock_all(database: Database, ids: Sequence[JobId]) -> list[JobId]:
    async with database.transaction() as tx:
        return [job.job_id for job in await lock_jobs(tx, list(reversed(ids)))]


async def test_a_lock_reads_what_its_predecessor_wrote(database: Database) -> None:
    ids = await make_jobs(database, "a")
    async with database.transaction() as holder:
        await lock_jobs(holder, ids.values())
        next_one = asyncio.ensure_future(_paused_after_lock(database))
        await set_paused(holder, ids["a"], paused=True, reason="", by="", now=NOW)
    assert await next_one


async def _paused_after_lock(database: Database) -> bool:
    async with database.transaction() as tx:
        job = await lock_job(tx, ("shop", "a"))
        assert job is not None
        return job.paused


async def test_cron_rows_are_written_whole_or_by_their_state(database: Database) -> None:
    state = CronState(enabled=True, generation=3, last_rewind_at=NOW, slot=NOW, due_at=NOW)
    rows = [JobCronRow(JobId(number), 1, f"j{number}", "every 1h", state) for number in (2, 1)]
    async with database.transaction() as tx:
        await save_crons(tx, [])
        await save_crons(tx, rows)
        assert [row.job_id for row in await lock_crons(tx, [1, 2, 3])] == [1, 2]
    assert await find_cron(database, 2) == rows[0]
    moved = JobCronRow(JobId(2), 1, "j2", "ignored", CronState(enabled=True, generation=4))
    async with database.transaction() as tx:
        await save_cron_states(tx, [moved])
    saved = await find_cron(database, 2)
    assert saved is not None
    assert (saved.schedule, saved.state) == ("every 1h", moved.state)
    assert await find_cron(database, 3) is None


async def test_of_two_spans_at_one_instant_the_later_edit_stands(database: Database) -> None:
    def span(schedule: str) -> ScheduleSpan:
        return ScheduleSpan(JobId(1), NOW, schedule, "r1", paused=False, enabled=True)

    async with database.transaction() as tx:
        await add_spans(tx, [])
        await add_spans(tx, [span("every 1h")])
        await add_spans(tx, [span("every 2h")])
    assert await load_spans(database, 1) == [span("every 2h")]


async def test_a_span_begins_no_earlier_than_the_one_before_it(database: Database) -> None:
    """The clock of a database that took over may be behind."""
    first = ScheduleSpan(JobId(1), NOW, "every 1h", "r1", paused=False, enabled=True)
    behind = replace(first, from_at=NOW - timedelta(seconds=1), schedule="every 2h")
    async with database.transaction() as tx:
        await add_spans(tx, [first])
        await add_spans(tx, [behind, replace(behind, job_id=JobId(2))])
    assert await load_spans(database, 1) == [replace(behind, from_at=NOW)]
    assert await load_spans(database, 2) == [replace(behind, job_id=JobId(2))]


async def test_whoever_makes_a_project_second_waits_for_the_first(database: Database) -> None:
    made = asyncio.Event()
    async with database.transaction() as second:
        first = asyncio.ensure_future(_make_project_slowly(database, made))
        await made.wait()
        await create_project(second, "shop")
        await first
        assert await lock_project(second, "shop") is not None
    project = await find_project(database, "shop")
    assert project is not None
    assert (project.resource_name, project.bindings, project.revision) == ("projects/shop", b"", "")


async def _make_project_slowly(database: Database, made: asyncio.Event) -> None:
    async with database.transaction() as tx:
        await create_project(tx, "shop")
        made.set()
        await tx.fetchval("select pg_sleep(0.1)")  # the database's, while the other one waits for this row
