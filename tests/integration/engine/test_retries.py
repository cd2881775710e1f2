"""Automatic retries: a trigger that waits for its backoff, then one more invocation with what the first was given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.jobstore.trigger_store import list_pending
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.job_definition import Downstream, RetryPolicy, TriggeringPolicy, TriggerOn
from ostinato.scheduling.trigger import MAX_WAITING
from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded.ready_store import move_in
from tests.integration.engine.runs import log_of, read, row_of, set_status, start_run
from tests.integration.engine.stage import T0, Stage

MINUTE = timedelta(minutes=1)
AT_ONCE = RetryPolicy(3, timedelta(microseconds=1), timedelta(microseconds=1))
AFTER_A_MINUTE = RetryPolicy(3, MINUTE, MINUTE)
PASSING = RunError("HTTP_STATUS", "HTTP status 503", retryable=True)


async def fail(stage: Stage, run: StoredInvocation, error: RunError = PASSING, status: S = S.FAILED) -> None:
    async with stage.db.transaction() as tx:
        change = InvocationChange(invocation=await read(stage, run.id), to_status=status, error=error)
        assert await apply_changes(tx, stage.dispatcher, [change])


async def waiting(stage: Stage, job_id: int) -> list[Row]:
    return await stage.db.fetch(
        "select *, not_before - created_at as backoff from trigger where job_id = $1 and not_before is not null", job_id
    )


async def let_time_pass(stage: Stage, job_id: int) -> None:
    """As if the retries had waited their time; the planned wake-up is due, too."""
    await stage.db.execute(
        "update trigger set not_before = created_at where job_id = $1 and not_before is not null", job_id
    )
    await stage.db.execute("update job set wake_at = ostinato_now() where wake_at is not null and job_id = $1", job_id)
    await stage.kick(job_id)


async def retried(stage: Stage, run: StoredInvocation) -> Row:
    """The one invocation that is active after `run` was acknowledged."""
    (active,) = await stage.active(run.job_id)
    assert active["retry_of"] == run.id
    return active


def incoming(row: Row) -> list[Trigger]:
    return list(TriggerList.FromString(row["incoming"]).triggers)


async def test_a_failed_run_is_tried_again_with_the_same_triggers(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    await fail(stage, run)
    await stage.triage()
    again = await retried(stage, run)
    assert (again["status"], again["attempt"], again["triggered_by"]) == (S.STARTING, 2, "engine")
    retry, event = incoming(again)
    name = f"projects/shop/jobs/report/invocations/{run.id}"
    assert (retry.id, retry.retry.invocation, retry.retry.attempt) == (f"retry:{name}", name, 2)
    assert event.id == "t0"
    assert [task.payload.invocation_id for task in await stage.launches()] == [run.id, again["invocation_id"]]


async def test_attempts_end_at_the_policys_and_carry_the_first_ones_triggers(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    for attempt in (2, 3):
        await fail(stage, run)
        await stage.triage()
        again = await retried(stage, run)
        assert again["attempt"] == attempt
        assert [trigger.WhichOneof("payload") for trigger in incoming(again)] == ["retry", "event"]
        run = await read(stage, again["invocation_id"])
    await fail(stage, run)
    await stage.triage()
    assert await stage.active(run.job_id) == []
    assert await stage.pending(run.job_id) == []
    job = await stage.job(run.job_id)
    assert (job["last_status"], job["last_error"]) == (S.FAILED, "HTTP status 503")


async def test_a_retry_keeps_the_slot_and_does_not_touch_the_ledger(stage: Stage) -> None:
    job_id = await stage.add_job("nightly", retry=AT_ONCE)
    await stage.emit_slot(job_id, 1, T0)
    await stage.triage()
    (first,) = await stage.active(job_id)
    ledger = await stage.ledger(job_id)
    await fail(stage, await read(stage, first["invocation_id"]))
    await stage.triage()
    (again,) = await stage.active(job_id)
    assert again["scheduled_for"] == first["scheduled_for"] == T0
    assert await stage.ledger(job_id) == ledger


async def test_a_retry_uses_the_definition_of_its_own_time(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    await fail(stage, run)
    newer = (await stage.db.fetchval("select definition from job")) + b"\x12\x01x"  # display_name
    await stage.db.execute("update job set definition = $1, version = version + 1, revision = 'r2'", newer)
    await stage.triage()
    again = await retried(stage, run)
    assert (again["definition"], again["revision"]) == (newer, "r2")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (S.FAILED, RunError("HTTP_STATUS", "HTTP status 404", retryable=False)),
        (S.ABORTED, RunError("ABORTED", "by hand", retryable=True)),
        (S.SUCCEEDED, RunError("", "")),
    ],
)
async def test_what_another_try_would_not_change_is_not_tried_again(stage: Stage, status: S, error: RunError) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    await fail(stage, run, error, status)
    assert await waiting(stage, run.job_id) == []


async def test_a_failure_of_ours_does_not_use_up_the_jobs_attempts(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    async with stage.db.transaction() as tx:
        change = InvocationChange(invocation=run, to_status=S.RETRYING, begins_attempt=True, error=PASSING)
        await apply_changes(tx, stage.dispatcher, [change])
    assert await waiting(stage, run.job_id) == []
    assert (await row_of(stage, run.id))["attempt"] == 1


async def test_the_backoff_is_told_in_the_log_and_planned_for(stage: Stage) -> None:
    run = await start_run(stage, retry=AFTER_A_MINUTE)
    await fail(stage, run)
    (trigger,) = await waiting(stage, run.job_id)
    assert trigger["backoff"] == MINUTE
    assert (await log_of(stage, run.id))[-1] == "Attempt 2 of 3 follows in 60.000 s at the earliest"
    await stage.triage()
    assert await stage.active(run.job_id) == []
    assert (await stage.job(run.job_id))["wake_at"] == trigger["not_before"]
    (planned,) = await planned_wakes(stage)
    assert timedelta(0) <= planned - trigger["not_before"] < timedelta(seconds=1)
    record = (await stage.triage_records(run.job_id))[-1]
    assert record["decisions"] == [{"reason": "WAITING_BACKOFF", "count": 1, "trigger_ids": [trigger["trigger_id"]]}]


async def planned_wakes(stage: Stage) -> list[datetime]:
    rows = await stage.db.fetch("select due_at from tq_later order by due_at")
    return [row[0] for row in rows]


async def test_the_wake_up_is_planned_once_however_often_the_job_is_triaged(stage: Stage) -> None:
    run = await start_run(stage, retry=AFTER_A_MINUTE, policy=TriggeringPolicy(max_concurrent_invocations=5))
    await fail(stage, run)
    for number in range(4):
        await stage.emit_ids(run.job_id, f"other{number}")
        await stage.triage()
    assert len(await planned_wakes(stage)) == 1


async def test_an_earlier_retry_plans_an_earlier_wake_up(stage: Stage) -> None:
    concurrent = TriggeringPolicy(max_concurrent_invocations=2)
    first = await start_run(stage, retry=RetryPolicy(3, 10 * MINUTE, 10 * MINUTE), policy=concurrent)
    await stage.emit_ids(first.job_id, "second")
    await stage.triage()
    second = next(row for row in await stage.active(first.job_id) if row["invocation_id"] != first.id)
    await fail(stage, first)
    await stage.triage()
    await stage.db.execute("update invocation_input set definition = $1", await redefined(stage, AFTER_A_MINUTE))
    await fail(stage, await read(stage, second["invocation_id"]))
    await stage.triage()
    earlier, later = await planned_wakes(stage)
    assert later - earlier > 8 * MINUTE
    assert timedelta(0) <= earlier - (await stage.job(first.job_id))["wake_at"] < timedelta(seconds=1)


async def redefined(stage: Stage, retry: RetryPolicy) -> bytes:
    await stage.add_job("other", retry=retry)
    definition: bytes = await stage.db.fetchval("select definition from job where name = 'other'")
    return definition


async def test_the_task_of_a_wake_up_is_believed_whatever_the_clock_says_since(stage: Stage) -> None:
    """A standby whose clock is behind took over: the task came, the time it was planned for did not."""
    run = await start_run(stage, retry=AFTER_A_MINUTE)
    await fail(stage, run)
    await stage.triage()
    (wake_at,) = await planned_wakes(stage)
    await stage.db.execute("update tq_later set due_at = ostinato_now() - interval '1 second'")
    await move_in(stage.db, stage.worker_id, since=T0 - timedelta(days=9999), strands=[], room=0, most=100)
    await stage.db.execute("update tq_ready set eta = $1 where eta is not null", wake_at)
    await stage.triage()
    assert len(await planned_wakes(stage)) == 1


async def test_a_waiting_retry_holds_no_concurrency(stage: Stage) -> None:
    run = await start_run(stage, retry=AFTER_A_MINUTE)
    await fail(stage, run)
    await stage.emit_ids(run.job_id, "natural")
    await stage.triage()
    (active,) = await stage.active(run.job_id)
    assert active["retry_of"] is None
    await let_time_pass(stage, run.job_id)
    await stage.triage()
    assert len(await stage.active(run.job_id)) == 1
    record = (await stage.triage_records(run.job_id))[-1]
    assert [decision["reason"] for decision in record["decisions"]] == ["AT_CONCURRENCY_LIMIT"]
    await stage.finish(active["invocation_id"])
    await stage.triage()
    await retried(stage, run)


async def test_natural_triggers_go_first_and_retries_are_never_batched(stage: Stage) -> None:
    job_id = await stage.add_job("busy", retry=AT_ONCE, policy=TriggeringPolicy(max_concurrent_invocations=3))
    await stage.emit_ids(job_id, "a")
    await stage.triage()
    await stage.emit_ids(job_id, "b")
    await stage.triage()
    for row in await stage.active(job_id):
        await fail(stage, await read(stage, row["invocation_id"]))
    await stage.emit_ids(job_id, "c", "d")
    await stage.triage()
    batches = [[trigger.WhichOneof("payload") for trigger in incoming(row)] for row in await stage.active(job_id)]
    assert sorted(batches) == [["event", "event"], ["retry", "event"], ["retry", "event"]]


async def test_a_pause_keeps_retries_and_a_resume_starts_them(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    await stage.db.execute("update job set paused = true")
    await fail(stage, run)
    await stage.triage()
    assert len(await waiting(stage, run.job_id)) == 1
    assert (await stage.triage_records(run.job_id))[-1]["decisions"][0]["reason"] == "WAITING_PAUSED"
    await stage.db.execute("update job set paused = false")
    await stage.kick(run.job_id)
    await stage.triage()
    await retried(stage, run)


async def test_a_disabled_job_loses_its_retries(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    await fail(stage, run)
    await disable(stage)
    await stage.triage()
    assert await waiting(stage, run.job_id) == []
    assert (await stage.triage_records(run.job_id))[-1]["decisions"][0]["reason"] == "PURGED_DISABLED"


async def disable(stage: Stage) -> None:
    await stage.db.execute("update job set enabled = false")
    await stage.db.execute("update job_cron set enabled = false")


async def add_waiting(stage: Stage, job_id: int, count: int) -> None:
    await stage.db.execute(
        """
        insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, body, not_before)
        select $1, 'retry:projects/shop/jobs/report/invocations/' || n * 16, 'RETRY', ostinato_now(), 0, '',
               ostinato_now() + interval '1 hour'
          from generate_series(1, $2) n
        """,
        job_id,
        count,
    )


async def test_a_disabled_job_loses_many_retries_in_several_triages(stage: Stage) -> None:
    job_id = await stage.add_job("report")
    await add_waiting(stage, job_id, 2500)
    await disable(stage)
    await stage.kick(job_id)
    assert await stage.triage_until_quiet() == 3
    assert await waiting(stage, job_id) == []


async def test_beyond_the_cap_a_retry_is_dropped_and_the_log_says_so(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    await add_waiting(stage, run.job_id, MAX_WAITING)
    await fail(stage, run)
    assert await stage.db.fetchval("select count(*) from trigger where not_before is not null") == MAX_WAITING
    assert (await log_of(stage, run.id))[-1] == "It is not tried again: 10000 retries of the job wait already"
    assert (await row_of(stage, run.id))["status"] == S.FAILED


async def test_thousands_of_waiting_retries_do_not_hide_what_is_newer(stage: Stage) -> None:
    job_id = await stage.add_job("report")
    await add_waiting(stage, job_id, 3000)
    await stage.emit_ids(job_id, "event")
    await stage.triage()
    (active,) = await stage.active(job_id)
    assert [trigger.id for trigger in incoming(active)] == ["event"]


async def test_downstream_jobs_hear_of_every_failure_also_of_one_that_is_tried_again(stage: Stage) -> None:
    alarm = await stage.add_job("alarm")
    run = await start_run(stage, retry=AT_ONCE, downstream=(Downstream("alarm", TriggerOn.FAILURE),))
    await fail(stage, run)
    assert await stage.pending(alarm) == [f"upstream:projects/shop/jobs/report/invocations/{run.id}"]
    assert len(await waiting(stage, run.job_id)) == 1


async def test_a_retry_of_a_run_that_is_gone_still_runs(stage: Stage) -> None:
    job_id = await stage.add_job("report")
    await add_waiting(stage, job_id, 1)
    await let_time_pass(stage, job_id)
    await stage.triage()
    (active,) = await stage.active(job_id)
    assert (active["retry_of"], active["attempt"]) == (16, 2)
    assert [trigger.id for trigger in incoming(active)] == ["retry:projects/shop/jobs/report/invocations/16"]


async def test_waiting_retries_are_listed_with_the_other_triggers(stage: Stage) -> None:
    run = await start_run(stage, retry=AFTER_A_MINUTE)
    await fail(stage, run)
    await stage.emit_ids(run.job_id, "event")
    listed = [Trigger.FromString(entry.body) for entry in await list_pending(stage.db, run.job_id, after=None, limit=9)]
    assert sorted(trigger.WhichOneof("payload") for trigger in listed) == ["event", "retry"]
    retry = next(trigger for trigger in listed if trigger.HasField("retry"))
    (row,) = await waiting(stage, run.job_id)
    assert retry.not_before.ToDatetime(tzinfo=UTC) == row["not_before"]


async def test_the_finish_the_retry_and_the_kick_are_one_commit(stage: Stage) -> None:
    run = await start_run(stage, retry=AT_ONCE)
    with pytest.raises(ZeroDivisionError):
        async with stage.db.transaction() as tx:
            await apply_changes(
                tx, stage.dispatcher, [InvocationChange(invocation=run, to_status=S.TIMED_OUT, error=PASSING)]
            )
            raise ZeroDivisionError
    assert await waiting(stage, run.job_id) == []
    assert await stage.claim(TRIAGE_JOB) == []
    await set_status(stage, run.id, S.RUNNING)
    await fail(stage, run, status=S.TIMED_OUT)
    assert len(await waiting(stage, run.job_id)) == 1
    assert len(await stage.claim(TRIAGE_JOB)) == 1
