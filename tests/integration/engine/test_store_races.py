"""What one session reads or adds while another one moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ostinato.jobflow.emit_triggers import Emitted
from ostinato.jobstore.invocation_listing_store import find_listed_invocation
from ostinato.jobstore.triage_store import move_to_history
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database, open_database
from tests.integration.engine.stage import Stage

_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Database]:
    """Another process' connections."""
    async with open_database(database.settings) as opened:
        yield opened


async def until_somebody_waits(db: Database) -> None:
    async with asyncio.timeout(10):
        while not await db.fetchval(_WAITING):
            await asyncio.sleep(0.005)


async def test_an_id_that_is_emitted_again_while_its_trigger_is_consumed_stays_a_duplicate(
    stage: Stage, other: Database
) -> None:
    """With consumed ids in a table of their own, it was in neither for a moment, and started a second run."""
    await stage.emit_ids(1, "a")
    async with other.transaction() as consuming:
        await consuming.execute("update trigger set consumed_at = ostinato_now() where trigger_id = 'a'")
        emitting = asyncio.ensure_future(stage.emit_ids(1, "a"))
        await until_somebody_waits(other)
    assert await emitting == Emitted((), ("a",))
    assert await stage.emit_ids(1, "a") == Emitted((), ("a",))
    assert await stage.db.fetchval("select count(*) from trigger") == 1


async def test_an_emit_waits_for_whoever_forgets_its_id_and_is_accepted_then(stage: Stage, other: Database) -> None:
    """Only ids that were consumed half an hour ago are forgotten, in small transactions: nobody waits long."""
    await stage.emit_ids(1, "a")
    async with other.transaction() as forgetting:
        await forgetting.execute("delete from trigger where trigger_id = 'a'")
        emitting = asyncio.ensure_future(stage.emit_ids(1, "a"))
        await until_somebody_waits(other)
    assert await emitting == Emitted(("a",), ())


async def test_an_emit_that_waits_for_a_forgetting_that_is_rolled_back_is_a_duplicate(
    stage: Stage, other: Database
) -> None:
    await stage.emit_ids(1, "a")
    emitting: asyncio.Future[Emitted] | None = None
    with pytest.raises(RuntimeError):
        async with other.transaction() as forgetting:
            await forgetting.execute("delete from trigger where trigger_id = 'a'")
            emitting = asyncio.ensure_future(stage.emit_ids(1, "a"))
            await until_somebody_waits(other)
            raise RuntimeError
    assert emitting is not None
    assert await emitting == Emitted((), ("a",))


async def test_a_run_is_found_at_every_moment_of_its_move_to_the_history(stage: Stage, other: Database) -> None:
    """Two reads, the history first, would miss a run that moves between them."""
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "a")
    await stage.triage()
    (run,) = await stage.active(job_id)
    invocation_id = InvocationId(run["invocation_id"])
    await stage.finish(invocation_id)
    async with other.transaction() as moving:
        await move_to_history(moving, [invocation_id])
        assert await find_listed_invocation(stage.db, invocation_id) is not None
        assert await find_listed_invocation(moving, invocation_id) is not None
    assert await find_listed_invocation(stage.db, invocation_id) is not None
    assert await stage.active(job_id) == []
