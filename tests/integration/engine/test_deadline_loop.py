"""Run timeouts: what is overdue ends once, what is early is looked at again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION, TRIAGE_JOB
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobstore.invocation_store import StoredInvocation, touch_heartbeats
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.job_definition import Downstream, TriggerOn
from ostinato.scheduling.targets import HttpSpec, NoopSpec, TargetSpec
from ostinato.taskqueue import pause_queue
from ostinato_engine import deadline_loop
from ostinato_engine.deadline_loop import DeadlineLoop, DeadlinePass
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.running_launches import Interrupted, Interruption, RunningLaunches
from tests.integration.engine.runs import log_of, read, row_of, set_status, start_run
from tests.integration.engine.stage import Stage

MINUTE = timedelta(minutes=1)
REPORTING = HttpSpec(url="http://example.invalid/", multistage=True)


@pytest.fixture
def running() -> RunningLaunches:
    return RunningLaunches()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def loop(stage: Stage, running: RunningLaunches, registry: CollectorRegistry) -> DeadlineLoop:
    metrics = EngineMetrics(registry)
    return DeadlineLoop(stage.db, stage.dispatcher, running, clock=SystemClock(), metrics=metrics)


async def age(stage: Stage, minutes: int) -> None:
    """As if everything had happened that much earlier."""
    await stage.db.execute(
        "update invocation set created_at = created_at - $1::interval, started_at = started_at - $1::interval, "
        "deadline_at = deadline_at - $1::interval",
        timedelta(minutes=minutes),
    )


async def test_a_run_past_its_timeout_ends_and_asks_for_a_triage(stage: Stage, loop: DeadlineLoop) -> None:
    run = await set_status(stage, (await start_run(stage, timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 2)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"]) == (S.TIMED_OUT, "RUN_TIMEOUT")
    assert (await log_of(stage, run.id))[0] == "the run took longer than its timeout of 60 s"
    assert [task.payload.job_id for task in await stage.claim(TRIAGE_JOB)] == [run.job_id]


async def test_a_timeout_triggers_what_waits_for_a_failure(stage: Stage, loop: DeadlineLoop) -> None:
    next_job = await stage.add_job("repair")
    downstream = (Downstream("repair", TriggerOn.FAILURE),)
    await set_status(stage, (await start_run(stage, timeout=MINUTE, downstream=downstream)).id, S.RUNNING)
    await age(stage, 2)
    await loop.end_overdue()
    assert len(await stage.pending(next_job)) == 1


async def test_a_run_that_waited_long_for_its_launch_still_gets_its_whole_timeout(
    stage: Stage, loop: DeadlineLoop
) -> None:
    run = await start_run(stage, timeout=MINUTE)
    await age(stage, 2)
    await set_status(stage, run.id, S.RUNNING)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    row = await row_of(stage, run.id)
    assert row["status"] == S.RUNNING
    assert row["deadline_at"] == row["started_at"] + MINUTE


@pytest.mark.leaves_damage("a run without its input, which nobody can end")
@pytest.mark.parametrize("damage", ["update invocation_input set definition = '\\xff'", "delete from invocation_input"])
async def test_a_damaged_run_does_not_stop_the_deadlines_of_others(
    stage: Stage, loop: DeadlineLoop, damage: str
) -> None:
    """Its error was nobody's: the loop died and took the engine along, and then the next engine."""
    broken = await set_status(stage, (await start_run(stage, "broken", timeout=MINUTE)).id, S.RUNNING)
    await stage.db.execute(damage)
    healthy = await set_status(stage, (await start_run(stage, "healthy", timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 2)
    await loop.look_once()
    assert (await row_of(stage, healthy.id))["status"] == S.TIMED_OUT
    assert (await row_of(stage, broken.id))["status"] == S.RUNNING
    assert await loop.look_once() > timedelta(0)


async def test_a_run_with_an_unreadable_definition_ends_at_the_default_timeout(
    stage: Stage, loop: DeadlineLoop
) -> None:
    run = await set_status(stage, (await start_run(stage)).id, S.RUNNING)
    await stage.db.execute("update invocation_input set definition = '\\xff'")
    await age(stage, 61)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)
    assert (await row_of(stage, run.id))["status"] == S.TIMED_OUT


async def test_a_run_that_was_not_launched_yet_does_not_time_out(stage: Stage, loop: DeadlineLoop) -> None:
    run = await start_run(stage, timeout=MINUTE)
    await age(stage, 2)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    assert await loop.end_overdue() == DeadlinePass(looked_at=0, ended=0)
    assert (await read(stage, run.id)).status is S.STARTING


async def test_what_has_ended_is_not_looked_at(stage: Stage, loop: DeadlineLoop) -> None:
    run = await start_run(stage, timeout=MINUTE)
    await stage.finish(run.id)
    await age(stage, 2)
    assert await loop.look_once() == timedelta(seconds=1)
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_a_run_that_another_engine_looks_at_is_left_to_it(stage: Stage, loop: DeadlineLoop) -> None:
    run = await set_status(stage, (await start_run(stage, timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 2)
    async with stage.db.transaction() as tx:
        await tx.execute("select 1 from invocation where invocation_id = $1 for no key update", run.id)
        assert await loop.end_overdue() == DeadlinePass(looked_at=0, ended=0)


async def test_many_engines_end_a_run_once(stage: Stage, loop: DeadlineLoop) -> None:
    for number in range(20):
        await set_status(stage, (await start_run(stage, f"job-{number}", timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 2)
    passes = await asyncio.gather(*(loop.end_overdue() for _ in range(4)))
    assert sum(done.ended for done in passes) == 20


async def test_the_call_of_a_run_that_timed_out_is_stopped(
    stage: Stage, loop: DeadlineLoop, running: RunningLaunches
) -> None:
    run = await set_status(stage, (await start_run(stage, timeout=MINUTE)).id, S.STARTING)
    await age(stage, 2)

    async def call() -> None:
        async with running.call(run.id, seconds=3600):
            await asyncio.Event().wait()

    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    await loop.end_overdue()
    with pytest.raises(Interrupted) as interrupted:
        await calling
    assert interrupted.value.why is Interruption.STOPPED


async def test_the_loop_sleeps_until_the_next_deadline_but_not_too_long(stage: Stage, loop: DeadlineLoop) -> None:
    assert await loop.look_once() == timedelta(seconds=1)
    run = await set_status(stage, (await start_run(stage, timeout=MINUTE)).id, S.RUNNING)
    assert await loop.look_once() == timedelta(seconds=1)
    await stage.db.execute(
        "update invocation set deadline_at = ostinato_now() + interval '500 milliseconds' where invocation_id = $1",
        run.id,
    )
    assert timedelta(0) < await loop.look_once() < timedelta(milliseconds=501)


async def look_is_due(stage: Stage) -> None:
    """As if engines had looked at everything whenever it was due."""
    await stage.db.execute("update invocation set deadline_at = ostinato_now()")


async def test_a_silent_run_ends_at_its_heartbeat_timeout(
    stage: Stage, loop: DeadlineLoop, registry: CollectorRegistry
) -> None:
    run = await start_run(stage, target=REPORTING, heartbeat_timeout=MINUTE)
    assert run.created_at + MINUTE == (await row_of(stage, run.id))["deadline_at"]
    await set_status(stage, run.id, S.RUNNING)
    await age(stage, 2)
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"], row["error_retryable"]) == (S.TIMED_OUT, "HEARTBEAT_TIMEOUT", True)
    assert (await log_of(stage, run.id))[0] == "the run gave no sign of life for its heartbeat timeout of 60 s"
    assert registry.get_sample_value("ostinato_engine_runs_timed_out_total", {"reason": "HEARTBEAT_TIMEOUT"}) == 1


@pytest.mark.parametrize(
    "target", [NoopSpec(sleep=timedelta(hours=1)), HttpSpec(url="http://example.invalid/")], ids=["noop", "http"]
)
async def test_work_that_cannot_report_is_not_asked_for_signs_of_life(
    stage: Stage, loop: DeadlineLoop, target: TargetSpec
) -> None:
    """A noop that slept longer than its heartbeat timeout was ended for its silence. Definitions of then are stored."""
    run = await start_run(stage, target=target, heartbeat_timeout=MINUTE)
    assert run.created_at + 60 * MINUTE == (await row_of(stage, run.id))["deadline_at"]
    await set_status(stage, run.id, S.RUNNING)
    await age(stage, 2)
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    row = await row_of(stage, run.id)
    assert (row["status"], row["deadline_at"]) == (S.RUNNING, row["started_at"] + 60 * MINUTE)


async def test_a_sign_of_life_moves_the_deadline_on_when_it_is_looked_at(stage: Stage, loop: DeadlineLoop) -> None:
    run = await set_status(stage, (await start_run(stage, target=REPORTING, heartbeat_timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 2)
    await look_is_due(stage)
    async with stage.db.transaction() as tx:
        await touch_heartbeats(tx, [run.id])
    before = await row_of(stage, run.id)
    assert before["version"] == run.version
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    row = await row_of(stage, run.id)
    assert row["deadline_at"] == row["last_heartbeat_at"] + MINUTE
    assert before["deadline_at"] < before["last_heartbeat_at"]


async def test_a_run_gets_its_heartbeat_timeout_anew_when_no_engine_was_there_to_hear_it(
    stage: Stage, loop: DeadlineLoop
) -> None:
    """Its reports, even its success, were stored and answered, and it was ended before any of them was applied."""
    run = await set_status(stage, (await start_run(stage, target=REPORTING, heartbeat_timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 10)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    assert await stage.db.fetchval(
        "select deadline_at between ostinato_now() + interval '50 s' and ostinato_now() + interval '1 min' "
        "from invocation"
    )
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)
    assert (await row_of(stage, run.id))["error_reason"] == "HEARTBEAT_TIMEOUT"


async def silent_run(stage: Stage) -> StoredInvocation:
    """Its heartbeat timeout has passed."""
    run = await set_status(stage, (await start_run(stage, target=REPORTING, heartbeat_timeout=MINUTE)).id, S.RUNNING)
    await age(stage, 2)
    await look_is_due(stage)
    return run


async def report(stage: Stage, invocation_id: int) -> None:
    await stage.dispatcher.add(HANDLE_NOTIFICATION, HandleNotificationTask(invocation_id=invocation_id))


@pytest.mark.parametrize("table", ["tq_ready", "tq_later"])
async def test_nobody_is_silent_whose_reports_may_wait(stage: Stage, loop: DeadlineLoop, table: str) -> None:
    """Engines that did not keep up with the reports ended runs that had reported all the time."""
    run = await silent_run(stage)
    await report(stage, run.id)
    await stage.db.execute("update tq_ready set ready_at = ready_at - interval '4 s'")
    if table == "tq_later":
        await stage.db.execute(
            "with gone as (delete from tq_ready returning *) insert into tq_later (id, due_at, strand, class_id, "
            "payload) select id, ready_at, strand, class_id, payload from gone"
        )
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    wait = await stage.db.fetchval("select deadline_at - ostinato_now() from invocation")
    assert timedelta(seconds=50) < wait <= MINUTE


async def test_nobody_is_silent_while_reports_are_paused(stage: Stage, loop: DeadlineLoop) -> None:
    await silent_run(stage)
    await pause_queue(stage.db, "notifications")
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)


async def test_runs_end_by_their_timeout_while_reports_are_paused(
    stage: Stage, loop: DeadlineLoop, registry: CollectorRegistry
) -> None:
    run = await start_run(stage, target=REPORTING, timeout=2 * MINUTE, heartbeat_timeout=MINUTE)
    await set_status(stage, run.id, S.RUNNING)
    await age(stage, 3)
    await look_is_due(stage)
    await pause_queue(stage.db, "notifications")
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)
    assert (await row_of(stage, run.id))["error_reason"] == "RUN_TIMEOUT"
    assert registry.get_sample_value("ostinato_engine_runs_timed_out_total", {"reason": "RUN_TIMEOUT"}) == 1


async def test_an_end_that_was_accepted_before_its_timeout_was_seen_wins(stage: Stage, loop: DeadlineLoop) -> None:
    """Engines that came back after the timeout looked at deadlines before reports, and ended what had succeeded."""
    run = await start_run(stage, target=REPORTING, timeout=2 * MINUTE)
    other = await start_run(stage, "k", target=REPORTING, timeout=2 * MINUTE)
    for each in (run, other):
        await set_status(stage, each.id, S.RUNNING)
    await age(stage, 3)
    end = NotifyRequest(status=NotifyRequest.SUCCEEDED)
    task_id = await stage.dispatcher.add(
        HANDLE_NOTIFICATION, HandleNotificationTask(invocation_id=run.id, notification=end)
    )
    await report(stage, other.id)  # a sign of life is no end
    assert await loop.end_overdue() == DeadlinePass(looked_at=2, ended=1)
    assert (await row_of(stage, other.id))["error_reason"] == "RUN_TIMEOUT"
    wait = await stage.db.fetchval(
        "select deadline_at - ostinato_now() from invocation where invocation_id = $1", run.id
    )
    assert timedelta(0) < wait <= timedelta(seconds=5)
    await stage.db.execute("delete from tq_ready where id = $1", task_id)  # somebody purged the queue
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)


async def test_those_who_have_told_their_ends_are_asked_for_a_few_at_a_time(
    stage: Stage, loop: DeadlineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_loop, "_MOST_ASKED", 2)
    runs = [await start_run(stage, name, target=REPORTING, timeout=2 * MINUTE) for name in "abcde"]
    for run in runs:
        await set_status(stage, run.id, S.RUNNING)
    await age(stage, 3)
    end = NotifyRequest(status=NotifyRequest.SUCCEEDED)
    for run in (runs[0], runs[4]):
        await stage.dispatcher.add(HANDLE_NOTIFICATION, HandleNotificationTask(invocation_id=run.id, notification=end))
    passes = []
    while (done := await loop.end_overdue()).looked_at:
        passes.append(done.ended)
    assert sum(passes) == 3
    assert max(passes) <= 2
    assert [(await read(stage, run.id)).status for run in runs] == [S.RUNNING, *[S.TIMED_OUT] * 3, S.RUNNING]


async def test_reports_that_have_just_come_and_tasks_of_other_queues_keep_nobody_alive(
    stage: Stage, loop: DeadlineLoop
) -> None:
    run = await silent_run(stage)
    await stage.db.execute("update tq_ready set ready_at = ready_at - interval '1 hour'")  # its launch waits
    await report(stage, run.id)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)


async def test_what_has_ended_gives_no_sign_of_life_any_more(stage: Stage) -> None:
    run = await start_run(stage)
    await stage.finish(run.id)
    async with stage.db.transaction() as tx:
        await touch_heartbeats(tx, [run.id])
    assert (await row_of(stage, run.id))["last_heartbeat_at"] is None


async def test_silence_begins_when_the_work_runs_however_long_the_launch_took(stage: Stage, loop: DeadlineLoop) -> None:
    run = await start_run(stage, target=REPORTING, heartbeat_timeout=MINUTE)
    await set_status(stage, run.id, S.RETRYING)
    await age(stage, 30)
    await look_is_due(stage)
    retrying = await read(stage, run.id)
    async with stage.db.transaction() as tx:
        await apply_changes(tx, stage.dispatcher, [InvocationChange(invocation=retrying, to_status=S.RUNNING)])
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    row = await row_of(stage, run.id)
    assert row["deadline_at"] == row["last_heartbeat_at"] + MINUTE
