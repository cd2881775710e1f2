"""Rejected reports: counted for runs that are under way, and for nothing that somebody made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib import resources

import pytest

from ostinato.auth.notification_token import TokenFault, TokenRejection
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.jobstore.rejected_report_store import load_rejected_reports, record_rejected_reports
from ostinato.storage.database import Database
from ostinato.taskqueue import open_dispatcher
from tests.integration.engine.runs import start_run
from tests.integration.engine.stage import Stage
from tests.integration.jobstore.test_messages import PARTITIONS


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with open_dispatcher(database, classes=ENGINE_TASK_CLASSES, notify=False) as dispatcher:
        yield Stage(database, dispatcher)


@pytest.fixture
async def runs(stage: Stage) -> list[StoredInvocation]:
    """Three that are under way, each of a job of its own, by their ids."""
    return sorted([await start_run(stage, name) for name in "abc"], key=lambda run: run.id)


def rejection(run: StoredInvocation, fault: TokenFault = TokenFault.WRONG_KEY, **claims: int) -> TokenRejection:
    return replace(TokenRejection(run.id, run.job_id, fault), **claims)


async def record(database: Database, counts: dict[TokenRejection, int]) -> None:
    await database.transact(lambda tx: record_rejected_reports(tx, counts))


async def recorded(database: Database, *runs: StoredInvocation) -> list[tuple[int, TokenFault, int]]:
    found = await load_rejected_reports(database, [run.id for run in runs])
    return [(each.invocation_id, each.fault, each.count) for each in found]


async def test_they_add_up_by_run_and_fault(database: Database, runs: list[StoredInvocation]) -> None:
    run, other, _ = runs
    expired = rejection(run, TokenFault.EXPIRED)
    await record(database, {rejection(run): 2, expired: 1})
    before = await database.fetchval("select ostinato_now()")
    await record(database, {expired: 3, rejection(other): 4})
    wrong_key, twice, of_other = await load_rejected_reports(database, [run.id, other.id])
    assert [each.count for each in (wrong_key, twice, of_other)] == [2, 4, 4]
    assert (wrong_key.fault, twice.fault) == (TokenFault.WRONG_KEY, TokenFault.EXPIRED)
    assert wrong_key.first_at == wrong_key.last_at < before
    assert twice.first_at < before < twice.last_at


async def test_of_nothing_there_is_nothing_to_write_or_to_read(database: Database) -> None:
    await record(database, {})
    assert await load_rejected_reports(database, []) == []


async def test_what_somebody_made_up_and_what_comes_after_the_end_leaves_nothing(
    stage: Stage, database: Database, runs: list[StoredInvocation]
) -> None:
    run, ended, gone = runs
    await stage.finish(gone.id)
    await stage.triage_until_quiet()  # into the history
    await stage.finish(ended.id)
    made_up = [
        rejection(run, job_id=ended.job_id),
        rejection(run, invocation_id=0),
        rejection(run, invocation_id=2**63 - 1, job_id=2**63 - 1),
        rejection(ended),
        rejection(gone),
    ]
    await record(database, dict.fromkeys(made_up, 5))
    assert await recorded(database, *runs) == []
    await record(database, dict.fromkeys([*made_up, rejection(run)], 5))
    assert await database.fetchval("select count(*) from rejected_report") == 1
    assert await recorded(database, *runs) == [(run.id, TokenFault.WRONG_KEY, 5)]


async def test_overlapping_sets_do_not_deadlock(database: Database, runs: list[StoredInvocation]) -> None:
    keys = [rejection(run, fault) for run in runs for fault in TokenFault]
    orders = [keys, keys[::-1], keys[5:] + keys[:5]]
    await asyncio.gather(*(record(database, dict.fromkeys(order, 1)) for order in orders for _ in range(10)))
    assert [count for *_, count in await recorded(database, *runs)] == [30] * len(keys)


async def test_faults_of_a_later_release_are_left_out(database: Database, runs: list[StoredInvocation]) -> None:
    run = runs[0]
    await record(database, {rejection(run): 1})
    await database.execute("insert into rejected_report values ($1, 99, now(), now(), 1)", run.id)
    assert await recorded(database, run) == [(run.id, TokenFault.WRONG_KEY, 1)]


async def test_the_weeks_that_were_there_before_the_table_get_their_partitions(database: Database) -> None:
    await database.execute("drop table rejected_report")
    await database.execute("create table invocation_log_20150105 (like invocation_log including all)")
    await database.execute(
        "alter table invocation_log attach partition invocation_log_20150105 for values from (1) to (2)"
    )
    sql = resources.files("ostinato.jobstore") / "migrations" / "0006_rejected_reports.sql"
    for statement in sql.read_text().split(";\n\n"):
        await database.execute(statement)
    logs = await database.fetch(PARTITIONS, "invocation_log")
    assert await database.fetch(PARTITIONS, "rejected_report") == logs
    assert len(logs) > 5
