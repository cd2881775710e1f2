"""Timers of runs: set with the change that asks for them, taken once, with their effect or with the end of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.errors import InternalError, StaleLease, Unavailable
from ostinato.jobflow.engine_tasks import HANDLE_TIMER, TRIAGE_JOB
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobflow.invocation_timers import NewTimer
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleTimerTask
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.job_definition import Downstream
from ostinato.scheduling.targets import HttpSpec, NoopSpec
from ostinato.storage.transaction import Row
from ostinato.taskqueue import TaskContext
from ostinato.taskqueue.embedded.ready_store import move_in
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.handle_timer import HandleTimer
from ostinato_engine.launch_invocation import LaunchInvocation
from ostinato_engine.running_launches import RunningLaunches
from ostinato_engine.targets.launchers import Launchers
from ostinato_engine.targets.noop import NoopLauncher
from ostinato_engine.targets.target import LaunchResult, Log, Run
from tests.integration.engine.crashes import CrashAt, everything
from tests.integration.engine.runs import log_of, read, row_of, start_run
from tests.integration.engine.stage import T0, Stage

MINUTE = timedelta(minutes=1)
SLEEPER = NoopSpec(sleep=MINUTE, triggers_count=2)

Answer = Callable[[Run, bytes], Awaitable[LaunchResult]]


class NoHttp:
    async def launch(self, run: Run, _spec: HttpSpec, _log: Log) -> LaunchResult:
        raise AssertionError(f"{run.name} is no http job")


@dataclass
class FakeTarget:
    """Becomes RUNNING with `timers`; each timer is answered by `answer`."""

    answer: Answer
    timers: tuple[NewTimer, ...] = (NewTimer(MINUTE, "look", b"1"),)
    payloads: list[bytes] = field(default_factory=list)

    async def launch(self, _run: Run, _spec: NoopSpec, _log: Log) -> LaunchResult:
        return LaunchResult(S.RUNNING, timers=self.timers)

    async def handle_timer(self, run: Run, _spec: NoopSpec, payload: bytes, log: Log) -> LaunchResult:
        self.payloads.append(payload)
        log("looked")
        return await self.answer(run, payload)


class Timers:
    """An engine's launches and timers, in the test's hands."""

    def __init__(self, stage: Stage, noop: FakeTarget | NoopLauncher | None = None) -> None:
        clock = SystemClock()
        launchers = Launchers(noop or NoopLauncher(clock), NoHttp())
        self.stage = stage
        self.metrics = EngineMetrics(CollectorRegistry())
        self.launcher = LaunchInvocation(
            stage.db, stage.dispatcher, launchers, RunningLaunches(), clock=clock, metrics=self.metrics
        )
        self.handler = HandleTimer(stage.db, stage.dispatcher, launchers, clock=clock, metrics=self.metrics)

    async def sleeping(self, name: str = "report", **definition: object) -> StoredInvocation:
        """A launched run of a job, RUNNING with its timer."""
        run = await start_run(self.stage, name, **({"target": SLEEPER} | definition))
        (task,) = await self.stage.launches()
        await self.launcher.handle_launch_invocation(task, task.payload)
        return await read(self.stage, run.id)

    async def due(self) -> list[TaskContext]:
        """As if the time had come; tasks keep the time they were planned for."""
        stage = self.stage
        await stage.db.execute("update tq_later set due_at = ostinato_now() - interval '1 s' - (id || ' us')::interval")
        await move_in(stage.db, stage.worker_id, since=T0 - timedelta(days=9999), strands=[], room=0, most=100)
        return await stage.claim(HANDLE_TIMER)

    async def handle(self, *tasks: TaskContext) -> None:
        await asyncio.gather(*(self.handler.handle_timer(task, task.payload) for task in tasks))

    async def pending(self) -> list[Row]:
        return await self.stage.db.fetch("select * from invocation_timer order by invocation_id, timer_id")

    def counted(self, outcome: str) -> float:
        return self.metrics.timers.labels(outcome)._value.get()


async def tasks_left(stage: Stage) -> int:
    strand_tasks = "select count(*) from tq_ready where class_id = $1"
    count: int = await stage.db.fetchval(strand_tasks, stage.dispatcher.class_ids[HANDLE_TIMER.name])
    return count


async def abort(stage: Stage, run: StoredInvocation, status: S = S.ABORTED) -> None:
    async with stage.db.transaction() as tx:
        await apply_changes(
            tx, stage.dispatcher, [InvocationChange(invocation=await read(stage, run.id), to_status=status)]
        )


async def test_a_long_sleep_is_a_timers_and_holds_no_launch(stage: Stage) -> None:
    timers = Timers(stage)
    run = await timers.sleeping()
    assert run.status is S.RUNNING
    assert await stage.launches() == []
    (timer,) = await timers.pending()
    assert timer["due_at"] - timer["created_at"] == MINUTE
    planned = await stage.db.fetchrow("select id, due_at from tq_later")
    assert planned["id"] == timer["task_id"]
    assert timedelta(0) <= planned["due_at"] - timer["due_at"] < timedelta(seconds=1)
    assert (await log_of(stage, run.id))[1:] == [
        "Sleeping 60 s",
        "Running, until its target, a notification or the timeout ends it",
        "Timer set: the end of the sleep",
    ]


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_a_timer_goes_with_its_task_if_whoever_ended_the_run_knew_no_timers(
    stage: Stage, acknowledged: bool
) -> None:
    """The release before this one, beside it while an installation is updated: the row would stay for ever."""
    timers = Timers(stage)
    run = await timers.sleeping()
    await stage.finish(run.id)
    if acknowledged:
        await stage.triage_until_quiet()
    await timers.handle(*await timers.due())
    assert await timers.pending() == []
    assert (timers.counted("STALE"), await tasks_left(stage)) == (1, 0)


async def test_a_due_timer_ends_the_sleep_and_triggers_what_follows(stage: Stage) -> None:
    timers = Timers(stage)
    next_job = await stage.add_job("next")
    run = await timers.sleeping(downstream=(Downstream("next"),))
    await timers.handle(*await timers.due())
    assert (await row_of(stage, run.id))["status"] == S.SUCCEEDED
    assert await timers.pending() == []
    assert await tasks_left(stage) == 0
    name = f"projects/shop/jobs/report/invocations/{run.id}"
    assert await stage.pending(next_job) == [f"noop:{run.id}:0", f"noop:{run.id}:1", f"upstream:{name}"]
    assert {task.payload.job_id for task in await stage.claim(TRIAGE_JOB)} == {run.job_id, next_job}
    assert "Timer: the end of the sleep" in await log_of(stage, run.id)
    assert timers.counted("APPLIED") == 1


async def test_a_short_sleep_needs_no_timer(stage: Stage) -> None:
    timers = Timers(stage)
    run = await timers.sleeping(target=NoopSpec(sleep=timedelta(milliseconds=1)))
    assert run.status is S.SUCCEEDED
    assert await timers.pending() == []


@pytest.mark.parametrize("status", [S.ABORTED, S.TIMED_OUT, S.SUCCEEDED])
async def test_the_end_of_a_run_drops_its_timers_and_says_so(stage: Stage, status: S) -> None:
    timers = Timers(stage)
    run = await timers.sleeping()
    await abort(stage, run, status)
    assert await timers.pending() == []
    assert "Timer dropped: the end of the sleep" in await log_of(stage, run.id)
    await timers.handle(*await timers.due())
    assert (await row_of(stage, run.id))["status"] == status
    assert await tasks_left(stage) == 0
    assert timers.counted("STALE") == 1


async def test_a_timer_of_a_run_in_the_history_is_stale(stage: Stage) -> None:
    timers = Timers(stage)
    run = await timers.sleeping()
    await abort(stage, run)
    await stage.triage_until_quiet()
    assert await stage.active(run.job_id) == []
    await timers.handle(*await timers.due())
    assert timers.counted("STALE") == 1


async def test_a_run_that_ends_while_its_timer_is_handled_stays_as_it_ended(stage: Stage) -> None:
    async def overtaken(run: Run, _payload: bytes) -> LaunchResult:
        await abort(stage, await read(stage, run.id))
        return LaunchResult(S.SUCCEEDED)

    timers = Timers(stage, FakeTarget(overtaken))
    run = await timers.sleeping()
    await timers.handle(*await timers.due())
    assert (await row_of(stage, run.id))["status"] == S.ABORTED
    assert timers.counted("STALE") == 1
    assert await tasks_left(stage) == 0


async def test_what_changed_while_the_timer_was_handled_does_not_cost_its_effect(stage: Stage) -> None:
    async def noted(run: Run, _payload: bytes) -> LaunchResult:
        async with stage.db.transaction() as tx:
            change = InvocationChange(invocation=await read(stage, run.id), to_status=S.RUNNING)
            await apply_changes(tx, stage.dispatcher, [change])
        return LaunchResult(S.SUCCEEDED)

    timers = Timers(stage, FakeTarget(noted))
    run = await timers.sleeping()
    await timers.handle(*await timers.due())
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_a_target_may_look_again_and_again(stage: Stage) -> None:
    async def look(_run: Run, payload: bytes) -> LaunchResult:
        left = 3 - int(payload)
        if not left:
            return LaunchResult(S.SUCCEEDED)
        return LaunchResult(S.RUNNING, timers=(NewTimer(MINUTE, "look", str(int(payload) + 1).encode()),))

    target = FakeTarget(look)
    timers = Timers(stage, target)
    run = await timers.sleeping()
    for _ in range(3):
        await timers.handle(*await timers.due())
    assert target.payloads == [b"1", b"2", b"3"]
    assert (await read(stage, run.id)).status is S.SUCCEEDED


async def test_timers_of_one_run_that_are_due_together_have_their_effects_one_after_the_other(stage: Stage) -> None:
    async def note(_run: Run, _payload: bytes) -> LaunchResult:
        return LaunchResult(S.RUNNING)

    target = FakeTarget(note, tuple(NewTimer(MINUTE, f"look {number}", b"") for number in range(3)))
    timers = Timers(stage, target)
    run = await timers.sleeping()
    before = run.version
    await timers.handle(*await timers.due())
    assert (await read(stage, run.id)).version == before + 3
    assert [line for line in await log_of(stage, run.id) if line.startswith("Timer: ")] == [
        "Timer: look 0",
        "Timer: look 1",
        "Timer: look 2",
    ]
    assert await timers.pending() == []


async def test_two_tasks_of_one_timer_have_one_effect(stage: Stage) -> None:
    calls = []

    async def note(_run: Run, payload: bytes) -> LaunchResult:
        calls.append(payload)
        return LaunchResult(S.RUNNING)

    timers = Timers(stage, FakeTarget(note))
    run = await timers.sleeping()
    (timer,) = await timers.pending()
    async with stage.db.transaction() as tx:
        again = HandleTimerTask(invocation_id=run.id, timer_id=timer["timer_id"])
        await stage.dispatcher.add(HANDLE_TIMER, again, tx=tx)
    tasks = await timers.due()
    assert len(tasks) == 2
    await timers.handle(tasks[0])
    await timers.handle(tasks[1])
    assert (await read(stage, run.id)).version == run.version + 1
    assert (timers.counted("APPLIED"), timers.counted("STALE")) == (1, 1)
    assert len(calls) == 1


async def test_a_failure_of_ours_keeps_the_timer_and_its_task(stage: Stage) -> None:
    async def fail(_run: Run, _payload: bytes) -> LaunchResult:
        raise Unavailable("on purpose")

    target = FakeTarget(fail)
    timers = Timers(stage, target)
    run = await timers.sleeping()
    (task,) = await timers.due()
    with pytest.raises(Unavailable):
        await timers.handle(task)
    assert len(await timers.pending()) == 1
    assert await tasks_left(stage) == 1
    assert (await read(stage, run.id)).version == run.version


async def test_the_effect_of_a_process_that_lost_its_task_is_rejected_and_the_timer_stays(stage: Stage) -> None:
    async def lose_the_task(_run: Run, _payload: bytes) -> LaunchResult:
        await stage.db.execute("update tq_ready set claimed_by = 0")
        return LaunchResult(S.SUCCEEDED)

    timers = Timers(stage, FakeTarget(lose_the_task))
    run = await timers.sleeping()
    (task,) = await timers.due()
    with pytest.raises(StaleLease):
        await timers.handle(task)
    assert (await read(stage, run.id)).status is S.RUNNING
    assert len(await timers.pending()) == 1


async def test_a_crash_at_any_step_leaves_everything_or_nothing(stage: Stage) -> None:
    crash = CrashAt()
    timers = Timers(stage)
    run = await timers.sleeping()
    (task,) = await timers.due()
    before = await everything(stage.db)
    stage.db._gate = crash
    steps = 0
    while True:
        steps += 1
        crash.left = steps
        try:
            await timers.handle(task)
        except Unavailable:
            crash.left = -1
            assert await everything(stage.db) == before, crash.step
            continue
        break
    crash.left = -1
    assert steps > 5
    assert (await read(stage, run.id)).status is S.SUCCEEDED
    assert (await timers.pending(), await tasks_left(stage)) == ([], 0)


async def test_only_what_goes_on_running_has_timers(stage: Stage) -> None:
    run = await start_run(stage)
    for status in (S.SUCCEEDED, S.RETRYING):
        change = InvocationChange(invocation=run, to_status=status, timers=[NewTimer(MINUTE, "never")])
        with pytest.raises(InternalError):
            async with stage.db.transaction() as tx:
                await apply_changes(tx, stage.dispatcher, [change])


async def test_a_run_whose_definition_cannot_be_read_any_more_fails_at_its_timer(stage: Stage) -> None:
    timers = Timers(stage)
    run = await timers.sleeping()
    await stage.db.execute("update invocation_input set definition = '\\xff'")
    await timers.handle(*await timers.due())
    row = await row_of(stage, run.id)
    assert (row["status"], row["error_reason"]) == (S.FAILED, "DEFINITION_INVALID")
