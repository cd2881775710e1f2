"""Launches: counted before the call, saved after it, repeated after failures of ours, never after an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.errors import RetryLater, StaleLease, TaskOutcomeError, Unavailable
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION, LAUNCH_INVOCATION
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.scheduling.launching import MAX_LAUNCH_ATTEMPTS
from ostinato.scheduling.targets import HttpSpec, NoopSpec
from ostinato.taskqueue import Outcome, TaskContext
from ostinato.taskqueue.cloud_tasks.pushed_task import pushed_task
from ostinato.taskqueue.cloud_tasks.task_headers import PushHeaders
from ostinato.taskqueue.outcome import Verdict, decide_next_step
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.handle_notification import HandleNotification
from ostinato_engine.launch_invocation import LaunchInvocation
from ostinato_engine.running_launches import RunningLaunches
from ostinato_engine.stop_calls_loop import StopCallsLoop
from ostinato_engine.targets.launchers import Launchers
from ostinato_engine.targets.noop import NoopLauncher
from ostinato_engine.targets.target import LaunchResult, Log, Run
from tests.integration.engine.runs import log_of, outgoing_of, read, row_of, start_run
from tests.integration.engine.stage import Stage

Answer = Callable[[Run, Log], Awaitable[LaunchResult]]


@dataclass
class FakeHttp:
    """Answers each launch by `answer` and remembers the calls."""

    answer: Answer
    calls: list[Run] = field(default_factory=list)

    async def launch(self, run: Run, _spec: HttpSpec, log: Log) -> LaunchResult:
        self.calls.append(run)
        return await self.answer(run, log)


@dataclass
class Launching:
    stage: Stage
    http: FakeHttp
    running: RunningLaunches = field(default_factory=RunningLaunches)
    metrics: EngineMetrics = field(default_factory=lambda: EngineMetrics(CollectorRegistry()))
    handler: LaunchInvocation = field(init=False)

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.handler = LaunchInvocation(
            self.stage.db,
            self.stage.dispatcher,
            Launchers(NoopLauncher(clock), self.http),
            self.running,
            clock=clock,
            metrics=self.metrics,
        )

    async def launch(self, task: TaskContext) -> None:
        await self.handler.handle_launch_invocation(task, task.payload)

    async def launch_next(self) -> None:
        (task,) = await self.stage.launches()
        await self.launch(task)


HTTP = HttpSpec(url="http://example.invalid/")


def always(result: LaunchResult) -> Answer:
    async def answer(_run: Run, log: Log) -> LaunchResult:
        log("called")
        return result

    return answer


def raising(error: Exception) -> Answer:
    async def answer(_run: Run, _log: Log) -> LaunchResult:
        raise error

    return answer


async def hanging(_run: Run, _log: Log) -> LaunchResult:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


SUCCEEDED = LaunchResult(S.SUCCEEDED)


async def tasks_left(stage: Stage) -> int:
    return int(await stage.db.fetchval("select count(*) from tq_ready where strand >> 9 = $1", _launches(stage)))


def _launches(stage: Stage) -> int:
    return stage.dispatcher.queue_ids["launches"]


async def until_calling(launching: Launching) -> None:
    async with asyncio.timeout(10):
        while not launching.running.ids:
            await asyncio.sleep(0.005)


async def test_a_launch_that_answers_ends_the_run_and_its_task(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(always(SUCCEEDED)))
    await launching.launch_next()
    stored = await read(stage, run.id)
    assert (stored.status, stored.launch_attempts) == (S.SUCCEEDED, 1)
    log = await log_of(stage, run.id)
    assert log[:2] == ["Starting, launch attempt 1", "called"]
    assert log[2].startswith("Ended with status SUCCEEDED after")
    assert await tasks_left(stage) == 0


async def test_the_attempt_is_committed_before_the_target_is_called(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    seen = []

    async def look(_run: Run, _log: Log) -> LaunchResult:
        seen.append((await read(stage, run.id)).launch_attempts)
        return SUCCEEDED

    await Launching(stage, FakeHttp(look)).launch_next()
    assert seen == [1]


async def test_a_noop_run_emits_its_triggers(stage: Stage) -> None:
    run = await start_run(stage, target=NoopSpec(triggers_count=2))
    await Launching(stage, FakeHttp(hanging)).launch_next()
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert await outgoing_of(stage, run.id) == [f"noop:{run.id}:0", f"noop:{run.id}:1"]


async def test_a_multistage_run_stays_running(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    await Launching(stage, FakeHttp(always(LaunchResult(S.RUNNING)))).launch_next()
    assert (await read(stage, run.id)).status is S.RUNNING
    assert await tasks_left(stage) == 0


async def test_a_failure_of_ours_is_tried_again_and_keeps_its_task(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(raising(RuntimeError("bug"))))
    (task,) = await stage.launches()
    with pytest.raises(TaskOutcomeError):
        await launching.launch(task)
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"]) == (S.RETRYING, "LAUNCH_RETRIED")
    assert await tasks_left(stage) == 1
    launching.http.answer = always(SUCCEEDED)
    await launching.launch(task)
    row = await row_of(stage, run.id)
    assert (row["status"], row["launch_attempts"], row["error_reason"]) == (S.SUCCEEDED, 2, "")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (7, 300), (20, 300)])
async def test_launches_that_fail_on_our_side_wait_longer_each_time(
    stage: Stage, failures: int, seconds: float
) -> None:
    """They counted as troubles that pass by themselves, whose pauses are 5 s at most."""
    await start_run(stage, target=HTTP)
    with pytest.raises(TaskOutcomeError) as failed:
        await Launching(stage, FakeHttp(raising(Unavailable("on purpose")))).launch_next()
    outcome = Outcome.of_error(failed.value)
    step = decide_next_step(outcome, LAUNCH_INVOCATION.retry, failures=failures - 1, jitter=0.99)
    assert (step.verdict, step.failures) == (Verdict.RETRY, failures)
    assert seconds <= step.delay.total_seconds() <= min(300, seconds * 1.1)


async def test_a_launch_that_meets_a_database_in_trouble_is_soon_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start_run(stage, target=HTTP)
    (task,) = await stage.launches()

    def away(**_options: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch, pytest.raises(Unavailable) as failed:
        patch.setattr(stage.db, "transaction", away)
        await Launching(stage, FakeHttp(hanging)).launch(task)
    step = decide_next_step(Outcome.of_error(failed.value), LAUNCH_INVOCATION.retry, failures=19, jitter=0)
    assert step.delay == timedelta(seconds=5)


async def test_the_fiftieth_failure_of_ours_fails_the_run(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    await stage.db.execute("update invocation set launch_attempts = $1", MAX_LAUNCH_ATTEMPTS - 1)
    await Launching(stage, FakeHttp(raising(RuntimeError("bug")))).launch_next()
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"]) == (S.FAILED, "LAUNCH_ATTEMPTS_EXHAUSTED")
    assert await tasks_left(stage) == 0


async def test_attempts_lost_to_crashes_count_too(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    await stage.db.execute("update invocation set launch_attempts = $1", MAX_LAUNCH_ATTEMPTS)
    launching = Launching(stage, FakeHttp(always(SUCCEEDED)))
    await launching.launch_next()
    assert (await row_of(stage, run.id))["error_reason"] == "LAUNCH_ATTEMPTS_EXHAUSTED"
    assert launching.http.calls == []


async def test_a_run_that_was_aborted_before_its_launch_is_never_called(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    await end(stage, run.id, S.ABORTED)
    launching = Launching(stage, FakeHttp(always(SUCCEEDED)))
    await launching.launch_next()
    assert launching.http.calls == []
    assert await tasks_left(stage) == 0


async def test_a_run_that_is_in_the_history_already_only_loses_its_task(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    (task,) = await stage.launches()
    await end(stage, run.id, S.ABORTED)
    await stage.triage_until_quiet()
    await Launching(stage, FakeHttp(hanging)).launch(task)
    assert await tasks_left(stage) == 0


async def test_an_abort_during_the_call_wins_over_its_answer(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)

    async def abort_meanwhile(_run: Run, _log: Log) -> LaunchResult:
        await end(stage, run.id, S.ABORTED)
        return SUCCEEDED

    await Launching(stage, FakeHttp(abort_meanwhile)).launch_next()
    assert (await read(stage, run.id)).status is S.ABORTED
    assert await tasks_left(stage) == 0


MULTISTAGE = HttpSpec(url="http://example.invalid/", multistage=True)
BROKEN = LaunchResult.failed("HTTP_CONNECTION", "Server disconnected", retryable=True)


async def report(stage: Stage, run: StoredInvocation, status: NotifyRequest.Status = NotifyRequest.SUCCEEDED) -> None:
    """As the ingester accepts it."""
    task = HandleNotificationTask(
        invocation_id=run.id, job_id=run.job_id, notification=NotifyRequest(status=status, log_lines=["so it is"])
    )
    await stage.dispatcher.add(HANDLE_NOTIFICATION, task)


async def apply_reports(stage: Stage) -> None:
    handler = HandleNotification(stage.db, stage.dispatcher, metrics=stage.metrics)
    assert await handler.handle_notifications(await stage.claim(HANDLE_NOTIFICATION)) == [None]


async def test_an_end_that_was_reported_during_the_call_wins_over_the_failure_of_the_call(stage: Stage) -> None:
    """The report waited for the launch to be saved, as FAILED, and came too late then."""
    run = await start_run(stage, target=MULTISTAGE)

    async def break_after_the_report(_run: Run, _log: Log) -> LaunchResult:
        await report(stage, run)
        await apply_reports(stage)
        return BROKEN

    await Launching(stage, FakeHttp(break_after_the_report)).launch_next()
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert await tasks_left(stage) == 0


async def test_an_end_that_waits_in_the_queue_decides_over_the_failure_of_the_call(stage: Stage) -> None:
    run = await start_run(stage, target=MULTISTAGE)

    async def break_after_the_report(_run: Run, _log: Log) -> LaunchResult:
        await report(stage, run)
        return BROKEN

    await Launching(stage, FakeHttp(break_after_the_report)).launch_next()
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"]) == (S.RUNNING, "")
    assert (await log_of(stage, run.id))[-1] == "Its end was reported meanwhile: that report decides"
    await apply_reports(stage)
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert await tasks_left(stage) == 0


async def test_a_report_that_waits_to_be_applied_again_decides_too(stage: Stage) -> None:
    run = await start_run(stage, target=MULTISTAGE)
    await report(stage, run)
    await stage.db.execute(
        "with gone as (delete from tq_ready where strand >> 9 = $1 returning *) "
        "insert into tq_later (id, due_at, strand, class_id, payload) "
        "select id, ostinato_now() + interval '4 minutes', strand, class_id, payload from gone",
        stage.dispatcher.queue_ids["notifications"],
    )
    await Launching(stage, FakeHttp(always(BROKEN))).launch_next()
    assert (await read(stage, run.id)).status is S.RUNNING


@pytest.mark.parametrize(
    ("target", "status"),
    [(HTTP, NotifyRequest.SUCCEEDED), (MULTISTAGE, NotifyRequest.RUNNING)],
    ids=["the work can't report", "it reported that it runs"],
)
async def test_a_call_that_failed_fails_the_run_where_no_end_was_reported(
    stage: Stage, target: HttpSpec, status: NotifyRequest.Status
) -> None:
    other = await start_run(stage, "other", target=MULTISTAGE)
    await report(stage, other)
    run = await start_run(stage, target=target)
    await report(stage, run, status)
    launching = Launching(stage, FakeHttp(always(BROKEN)))
    (task,) = [task for task in await stage.launches() if task.payload.invocation_id == run.id]
    await launching.launch(task)
    assert (await row_of(stage, run.id))["error_reason"] == "HTTP_CONNECTION"


async def test_the_call_of_a_run_that_was_ended_elsewhere_is_stopped(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(hanging))
    launch = asyncio.create_task(launching.launch_next())
    await until_calling(launching)
    stop_calls = StopCallsLoop(stage.db, launching.running, clock=SystemClock(), metrics=launching.metrics)
    await stop_calls.stop_ended()
    assert launching.running.ids
    await end(stage, run.id, S.ABORTED)
    await stop_calls.stop_ended()
    await launch
    assert not launching.running.ids
    assert (await read(stage, run.id)).status is S.ABORTED
    assert await tasks_left(stage) == 0


async def test_a_call_that_outlasts_the_run_timeout_times_the_run_out(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP, timeout=timedelta(milliseconds=50))
    await Launching(stage, FakeHttp(hanging)).launch_next()
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"]) == (S.TIMED_OUT, "RUN_TIMEOUT")


async def test_the_run_timeout_counts_from_the_first_attempt(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP, timeout=timedelta(minutes=1))
    await stage.db.execute("update invocation set started_at = ostinato_now() - interval '2 minutes'")
    launching = Launching(stage, FakeHttp(always(SUCCEEDED)))
    await launching.launch_next()
    assert (await read(stage, run.id)).status is S.TIMED_OUT
    assert launching.http.calls == []


async def test_a_cancelled_handler_leaves_run_and_task_for_somebody_else(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(hanging))
    (task,) = await stage.launches()
    launch = asyncio.create_task(launching.launch(task))
    await until_calling(launching)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert (await read(stage, run.id)).status is S.STARTING
    assert await tasks_left(stage) == 1
    launching.http.answer = always(SUCCEEDED)
    await launching.launch(task)
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_the_result_of_a_process_that_lost_its_task_is_rejected(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)

    async def lose_the_task(_run: Run, _log: Log) -> LaunchResult:
        await stage.db.execute("update tq_ready set claimed_by = 0")
        return SUCCEEDED

    (task,) = await stage.launches()
    with pytest.raises(StaleLease):
        await Launching(stage, FakeHttp(lose_the_task)).launch(task)
    assert (await read(stage, run.id)).status is S.STARTING


async def stalled_engine_begins(stage: Stage) -> None:
    """What a process does that has lost its task and does not know it yet."""
    await stage.db.execute("update invocation set launch_attempts = launch_attempts + 1, version = version + 1")


async def test_an_attempt_counted_by_a_stalled_process_does_not_cost_the_owners_result(stage: Stage) -> None:
    """The task was completed without its result: the run stood still until it was reconciled and called again."""
    run = await start_run(stage, target=HTTP)

    async def answer(_run: Run, _log: Log) -> LaunchResult:
        await stalled_engine_begins(stage)
        return LaunchResult.failed("HTTP_STATUS", "HTTP status 500", retryable=True)

    await Launching(stage, FakeHttp(answer)).launch_next()
    assert await tasks_left(stage) == 0
    assert (await read(stage, run.id)).status is S.FAILED


async def test_a_failure_of_ours_says_nothing_about_a_later_attempt(stage: Stage) -> None:
    run = await start_run(stage, target=HTTP)

    async def fail(_run: Run, _log: Log) -> LaunchResult:
        await stalled_engine_begins(stage)
        raise Unavailable("on purpose")

    with pytest.raises(TaskOutcomeError):
        await Launching(stage, FakeHttp(fail)).launch_next()
    assert (await read(stage, run.id)).status is S.STARTING
    assert await tasks_left(stage) == 1


@pytest.mark.parametrize("damaged", [b"", b"\xff"])
async def test_a_run_whose_definition_cannot_be_read_fails(stage: Stage, damaged: bytes) -> None:
    run = await start_run(stage, target=HTTP)
    await stage.db.execute("update invocation_input set definition = $1", damaged)
    await Launching(stage, FakeHttp(hanging)).launch_next()
    assert (await row_of(stage, run.id))["error_reason"] == "DEFINITION_INVALID"


async def test_a_second_task_for_a_launch_under_way_calls_nothing(stage: Stage) -> None:
    await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(hanging))
    (task,) = await stage.launches()
    launch = asyncio.create_task(launching.launch(task))
    await until_calling(launching)
    await launching.launch(task)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert len(launching.http.calls) == 1


async def test_a_push_for_a_launch_under_way_is_not_answered_as_done_and_calls_nothing(stage: Stage) -> None:
    """It may be the same task a second time, which would be gone then, though the launch can still die."""
    run = await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(hanging))
    now, headers = SystemClock().now(), PushHeaders(task_name="a" * 32, queue="launches")
    class_id, payload = stage.dispatcher.class_ids[LAUNCH_INVOCATION.name], LaunchInvocationTask(invocation_id=run.id)
    task = pushed_task(LAUNCH_INVOCATION, class_id, headers, payload, now=now, excused=0)
    launch = asyncio.create_task(launching.launch(task))
    await until_calling(launching)
    with pytest.raises(RetryLater):
        await launching.launch(task)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert len(launching.http.calls) == 1


async def test_many_launches_share_their_transactions(stage: Stage) -> None:
    policy = TriggeringPolicy(max_concurrent_invocations=30, max_batch_size=1)
    job_id = await stage.add_job("many", policy=policy, target=HTTP)
    await stage.emit_ids(job_id, *(f"t{number}" for number in range(30)))
    await stage.triage()
    launching = Launching(stage, FakeHttp(always(SUCCEEDED)))
    before = await transactions(stage)
    await asyncio.gather(*(launching.launch(task) for task in await stage.launches()))
    assert {row["status"] for row in await stage.active(job_id)} == {S.SUCCEEDED}
    assert await transactions(stage) - before <= 8  # two groups each way, and the look itself


async def test_a_database_that_is_away_for_a_moment_does_not_cost_the_result(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start_run(stage, target=HTTP)
    launching = Launching(stage, FakeHttp(always(SUCCEEDED)))
    (task,) = await stage.launches()
    original = stage.db.transaction
    failures = iter([Unavailable("away")])

    def sometimes_away(**options):
        if launching.http.calls and (error := next(failures, None)):
            raise error
        return original(**options)

    monkeypatch.setattr(stage.db, "transaction", sometimes_away)
    await launching.launch(task)
    assert len(launching.http.calls) == 1
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def transactions(stage: Stage) -> int:
    return int(await stage.db.fetchval("select txid_current()::text::bigint"))


async def end(stage: Stage, invocation_id: int, status: S) -> None:
    async with stage.db.transaction() as tx:
        change = InvocationChange(invocation=await read(stage, invocation_id), to_status=status)
        assert await apply_changes(tx, stage.dispatcher, [change])
