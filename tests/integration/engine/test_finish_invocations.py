"""The one door: compare-and-swap, and what commits together with a change."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from ostinato.errors import InternalError
from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import ChangedInvocation, StoredInvocation
from ostinato.jobstore.log_listing_store import BEFORE_ALL, list_log_lines
from ostinato.pb.scheduler.v1.triggers_pb2 import NoopPayload, Trigger
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import Downstream, TriggeringPolicy, TriggerOn
from ostinato.scheduling.log_cut import CUT_MARKER, MAX_LOG_BYTES
from tests.integration.engine.runs import log_of, outgoing_of, read, row_of, set_status, start_run, start_run_of
from tests.integration.engine.stage import Stage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def apply(stage: Stage, *changes: InvocationChange) -> dict[InvocationId, ChangedInvocation]:
    async with stage.db.transaction() as tx:
        return await apply_changes(tx, stage.dispatcher, changes)


def change(run: StoredInvocation, to: S, **rest: object) -> InvocationChange:
    return InvocationChange(invocation=run, to_status=to, **rest)  # type: ignore[arg-type]


async def test_a_finish_is_stored_with_its_log_and_asks_for_a_triage_of_its_job(stage: Stage) -> None:
    run = await start_run(stage)
    error = RunError("HTTP_STATUS", "HTTP status 500", retryable=True)
    applied = await apply(
        stage, change(run, S.FAILED, error=error, result=b"r", log_lines=[LogLine(NOW, "went wrong")])
    )
    assert list(applied) == [run.id]
    row = await row_of(stage, run.id)
    assert (row["status"], row["version"], row["error_reason"], row["error_message"]) == (
        S.FAILED, run.version + 1, "HTTP_STATUS", "HTTP status 500",
    )  # fmt: skip
    assert row["error_retryable"]
    assert row["result"] == b"r"
    assert row["finished_at"] is not None
    assert await log_of(stage, run.id) == ["went wrong", "Ended with status FAILED before it was launched"]
    assert [task.payload.job_id for task in await stage.claim(TRIAGE_JOB)] == [run.job_id]


@pytest.mark.leaves_damage("a run that no launch began")
async def test_a_change_that_does_not_end_the_run_asks_for_no_triage(stage: Stage) -> None:
    run = await start_run(stage)
    await apply(stage, change(run, S.RUNNING))
    assert await stage.claim(TRIAGE_JOB) == []
    assert (await row_of(stage, run.id))["finished_at"] is None


async def test_a_launch_attempt_is_counted_and_the_first_one_starts_the_run(stage: Stage) -> None:
    run = await start_run(stage)
    await apply(stage, change(run, S.STARTING, begins_attempt=True))
    first = await read(stage, run.id)
    await apply(stage, change(first, S.RETRYING, begins_attempt=True))
    second = await read(stage, run.id)
    assert (first.launch_attempts, second.launch_attempts) == (1, 2)
    assert first.started_at is not None
    assert second.started_at == first.started_at


async def test_only_the_first_of_two_finishes_is_accepted(stage: Stage) -> None:
    run = await start_run(stage)
    assert await apply(stage, change(run, S.SUCCEEDED))
    assert not await apply(stage, change(run, S.FAILED, log_lines=[LogLine(NOW, "too late")]))
    assert (await row_of(stage, run.id))["status"] == S.SUCCEEDED
    assert await log_of(stage, run.id) == ["Ended with status SUCCEEDED before it was launched"]


async def test_of_many_concurrent_finishes_one_is_accepted(stage: Stage) -> None:
    run = await start_run(stage)
    answers = await asyncio.gather(
        *(apply(stage, change(run, status)) for status in (S.SUCCEEDED, S.FAILED, S.ABORTED))
    )
    assert sorted(len(answer) for answer in answers) == [0, 0, 1]
    assert len(await stage.claim(TRIAGE_JOB)) == 1


async def test_a_change_made_from_an_outdated_read_is_not_applied(stage: Stage) -> None:
    run = await start_run(stage)
    await set_status(stage, run.id, S.RUNNING)
    assert not await apply(stage, change(run, S.SUCCEEDED))
    assert (await row_of(stage, run.id))["status"] == S.RUNNING


async def test_what_has_ended_stays_as_it_is_whatever_its_version(stage: Stage) -> None:
    run = await start_run(stage)
    await apply(stage, change(run, S.ABORTED))
    ended = await read(stage, run.id)
    with pytest.raises(InternalError):
        await apply(stage, change(ended, S.SUCCEEDED))


async def test_one_lost_change_does_not_hold_the_others_of_its_set(stage: Stage) -> None:
    job_id = await stage.add_job("many", policy=TriggeringPolicy(max_concurrent_invocations=3, max_batch_size=1))
    runs = [await start_run_of(stage, job_id) for _ in range(3)]
    await set_status(stage, runs[1].id, S.RUNNING)
    applied = await apply(stage, *(change(run, S.SUCCEEDED) for run in runs))
    assert set(applied) == {runs[0].id, runs[2].id}


async def test_the_end_triggers_the_downstream_jobs_that_asked_for_it(stage: Stage) -> None:
    after_success = await stage.add_job("after-success")
    after_failure = await stage.add_job("after-failure")
    after_any_end = await stage.add_job("after-any-end")
    downstream = (
        Downstream("after-success"),
        Downstream("after-failure", TriggerOn.FAILURE),
        Downstream("after-any-end", TriggerOn.FINISH),
    )
    run = await start_run(stage, downstream=downstream)
    await apply(stage, change(run, S.SUCCEEDED))
    name = f"projects/shop/jobs/report/invocations/{run.id}"
    assert await stage.pending(after_success) == [f"upstream:{name}"]
    assert await stage.pending(after_any_end) == [f"upstream:{name}"]
    assert await stage.pending(after_failure) == []
    assert await outgoing_of(stage, run.id) == [f"upstream:{name}"]
    kicked = {task.payload.job_id for task in await stage.claim(TRIAGE_JOB)}
    assert kicked == {run.job_id, after_success, after_any_end}


async def test_triggers_of_the_target_go_downstream_before_the_upstream_trigger(stage: Stage) -> None:
    next_job = await stage.add_job("next")
    run = await start_run(stage, downstream=(Downstream("next"),))
    emitted = [Trigger(id=f"noop:{run.id}:{index}", noop=NoopPayload()) for index in range(2)]
    await apply(stage, change(run, S.SUCCEEDED, triggers=emitted))
    ids = [f"noop:{run.id}:0", f"noop:{run.id}:1", f"upstream:projects/shop/jobs/report/invocations/{run.id}"]
    assert await stage.pending(next_job) == ids
    assert await outgoing_of(stage, run.id) == ids


async def test_the_downstream_jobs_are_those_of_the_definition_the_run_was_created_with(stage: Stage) -> None:
    old = await stage.add_job("old")
    run = await start_run(stage, downstream=(Downstream("old"),))
    await stage.db.execute("update job set definition = '' where job_id = $1", run.job_id)
    await apply(stage, change(run, S.SUCCEEDED))
    assert len(await stage.pending(old)) == 1


async def test_a_downstream_job_that_does_not_exist_is_named_in_the_log(stage: Stage) -> None:
    run = await start_run(stage, downstream=(Downstream("gone"),))
    await apply(stage, change(run, S.SUCCEEDED))
    assert "Job gone does not exist, so it is not triggered" in await log_of(stage, run.id)


async def test_nothing_of_a_change_remains_when_its_transaction_fails(stage: Stage) -> None:
    next_job = await stage.add_job("next")
    run = await start_run(stage, downstream=(Downstream("next"),))
    with pytest.raises(ZeroDivisionError):
        async with stage.db.transaction() as tx:
            await apply_changes(tx, stage.dispatcher, [change(run, S.SUCCEEDED, log_lines=[LogLine(NOW, "x")])])
            raise ZeroDivisionError
    assert (await read(stage, run.id)).status is S.STARTING
    assert await log_of(stage, run.id) == []
    assert await stage.pending(next_job) == []
    assert await stage.claim(TRIAGE_JOB) == []


async def test_a_log_that_grows_too_long_keeps_its_head_and_its_end(stage: Stage) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RUNNING)
    for round_no in range(6):
        lines = [LogLine(NOW, f"{round_no}-{line}-" + "x" * 990) for line in range(100)]
        await apply(stage, change(run, S.RUNNING, log_lines=lines))
        run = await read(stage, run.id)
    log = await log_of(stage, run.id)
    assert sum(len(line) + 1 for line in log) <= MAX_LOG_BYTES
    assert log[0].startswith("0-0-")
    assert log[-1].startswith("5-99-")
    assert log.count(CUT_MARKER) == 1
    assert (await row_of(stage, run.id))["log_bytes"] == sum(len(line) + 1 for line in log)


async def test_a_nul_character_in_texts_does_not_stop_a_finish(stage: Stage) -> None:
    run = await start_run(stage)
    assert await apply(stage, change(run, S.FAILED, error=RunError("X", "a\0b"), log_lines=[LogLine(NOW, "c\0d")]))
    assert (await log_of(stage, run.id))[0] == "c\N{REPLACEMENT CHARACTER}d"


async def test_half_a_surrogate_pair_in_texts_does_not_stop_a_finish(stage: Stage) -> None:
    run = await start_run(stage)
    error = RunError("X", "a\ud800b")
    assert await apply(stage, change(run, S.FAILED, error=error, log_lines=[LogLine(NOW, "c\udcffd")]))
    log = await log_of(stage, run.id)
    assert log[0] == "c\N{REPLACEMENT CHARACTER}d"
    row = await row_of(stage, run.id)
    assert row["error_message"] == "a\N{REPLACEMENT CHARACTER}b"
    assert row["log_bytes"] == len(log[0].encode()) + 1


async def test_who_reads_on_from_within_what_was_cut_comes_upon_the_marker(stage: Stage) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RUNNING)
    await apply(stage, change(run, S.RUNNING, log_lines=[LogLine(NOW, f"{line} {'x' * 990}") for line in range(190)]))
    read_so_far = await list_log_lines(stage.db, run.id, after=BEFORE_ALL, limit=100)
    run = await read(stage, run.id)
    await apply(stage, change(run, S.RUNNING, log_lines=[LogLine(NOW, f"new {'x' * 990}") for _ in range(50)]))
    (marker, *rest) = await list_log_lines(stage.db, run.id, after=read_so_far[-1].position, limit=1000)
    assert marker.line == CUT_MARKER
    assert rest[-1].line.startswith("new")
    assert CUT_MARKER not in [line.line for line in rest]


async def test_the_last_words_count_for_the_limit(stage: Stage) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RUNNING)
    lines = [LogLine(NOW, "x" * 999) for _ in range(MAX_LOG_BYTES // 1000)]
    await apply(stage, change(run, S.SUCCEEDED, log_lines=lines))
    log = await log_of(stage, run.id)
    assert CUT_MARKER in log
    assert log[-1].startswith("Ended with status SUCCEEDED")
    assert sum(len(line) + 1 for line in log) <= MAX_LOG_BYTES


async def test_a_line_longer_than_a_whole_log_is_cut_and_stays_through_later_cuts(stage: Stage) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RUNNING)
    await apply(stage, change(run, S.RUNNING, log_lines=[LogLine(NOW, "é" * MAX_LOG_BYTES)]))
    (kept, marker) = await log_of(stage, run.id)
    assert marker == CUT_MARKER
    for _ in range(3):
        lines = [LogLine(NOW, "x" * 999) for _ in range(100)]
        await apply(stage, change(await read(stage, run.id), S.RUNNING, log_lines=lines))
    log = await log_of(stage, run.id)
    assert log[:2] == [kept, CUT_MARKER]
    assert log.count(CUT_MARKER) == 1
    assert sum(len(line.encode()) + 1 for line in log) <= MAX_LOG_BYTES
    stored = await stage.db.fetchval("select log_bytes from invocation where invocation_id = $1", run.id)
    assert stored == sum(len(line.encode()) + 1 for line in log)
