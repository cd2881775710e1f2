"""Edits that lose a race decide again with what the winner left."""

from __future__ import annotations

import asyncio

import pytest

from ostinato.errors import Contention
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobflow.invocation_session import edit_invocations
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.invocation import is_final
from tests.integration.engine.runs import log_of, read, set_status, start_run
from tests.integration.engine.stage import Stage


async def test_an_edit_decides_again_from_a_fresh_read_after_it_lost(stage: Stage) -> None:
    outdated = await start_run(stage)
    await set_status(stage, outdated.id, S.RUNNING)
    seen = []

    def decide(found: StoredInvocation) -> InvocationChange:
        seen.append(found.status)
        return InvocationChange(invocation=found, to_status=S.SUCCEEDED)

    async with stage.db.transaction() as tx:
        applied = await edit_invocations(tx, stage.dispatcher, {outdated.id: decide}, known={outdated.id: outdated})
    assert seen == [S.STARTING, S.RUNNING]
    assert set(applied) == {outdated.id}


async def test_an_edit_that_finds_the_run_ended_leaves_it(stage: Stage) -> None:
    outdated = await start_run(stage)
    await stage.finish(outdated.id)

    def abort(found: StoredInvocation) -> InvocationChange | None:
        return None if is_final(found.status) else InvocationChange(invocation=found, to_status=S.ABORTED)

    async with stage.db.transaction() as tx:
        applied = await edit_invocations(tx, stage.dispatcher, {outdated.id: abort}, known={outdated.id: outdated})
    assert applied == {}
    assert (await read(stage, outdated.id)).status is S.SUCCEEDED


async def test_a_run_that_went_to_the_history_is_left_out(stage: Stage) -> None:
    outdated = await start_run(stage)
    await stage.finish(outdated.id)
    await stage.triage_until_quiet()

    def abort(found: StoredInvocation) -> InvocationChange:
        return InvocationChange(invocation=found, to_status=S.ABORTED)

    async with stage.db.transaction() as tx:
        assert await edit_invocations(tx, stage.dispatcher, {outdated.id: abort}) == {}
    async with stage.db.transaction() as tx:
        known = {outdated.id: outdated}
        assert await edit_invocations(tx, stage.dispatcher, {outdated.id: abort}, known=known) == {}


async def test_concurrent_edits_all_take_effect_one_after_the_other(stage: Stage) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RUNNING)

    async def add_line(number: int) -> None:
        def decide(found: StoredInvocation) -> InvocationChange:
            return InvocationChange(
                invocation=found, to_status=found.status, log_lines=[LogLine(found.read_at, str(number))]
            )

        async with stage.db.transaction() as tx:
            assert await edit_invocations(tx, stage.dispatcher, {run.id: decide}, known={run.id: run})

    await asyncio.gather(*map(add_line, range(8)))
    assert sorted(await log_of(stage, run.id)) == [str(number) for number in range(8)]
    assert (await read(stage, run.id)).version == run.version + 8


async def test_an_edit_that_loses_again_and_again_gives_up(stage: Stage) -> None:
    run = await start_run(stage)

    def always_outdated(_: StoredInvocation) -> InvocationChange:
        return InvocationChange(invocation=run, to_status=S.ABORTED)

    await set_status(stage, run.id, S.RUNNING)
    with pytest.raises(Contention):
        async with stage.db.transaction() as tx:
            await edit_invocations(tx, stage.dispatcher, {run.id: always_outdated})
    assert (await read(stage, run.id)).status is S.RUNNING


async def test_two_sets_of_edits_in_opposite_order_do_not_deadlock(stage: Stage) -> None:
    runs = [await start_run(stage, f"job-{number}") for number in range(6)]

    def decide(found: StoredInvocation) -> InvocationChange | None:
        return None if is_final(found.status) else InvocationChange(invocation=found, to_status=S.SUCCEEDED)

    async def end(order: list[StoredInvocation]) -> int:
        async with stage.db.transaction() as tx:
            return len(await edit_invocations(tx, stage.dispatcher, {run.id: decide for run in order}))

    for _ in range(5):
        ended = await asyncio.gather(end(runs), end(runs[::-1]), end(runs), end(runs[::-1]))
        assert sum(ended) in (0, 6)
