"""Reports that were accepted, and that Cloud Tasks has not been given yet: engines know of them before they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.jobflow.add_report import add_report
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES, HANDLE_NOTIFICATION, TRIAGE_JOB
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, TriageJobTask
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher
from ostinato.taskqueue.reminders import reminder_store
from ostinato_engine.deadline_loop import DeadlineLoop, DeadlinePass
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.running_launches import RunningLaunches
from tests.integration.engine.runs import read, row_of, start_run
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_deadline_loop import look_is_due, silent_run
from tests.integration.engine.test_launch_invocation import BROKEN, MULTISTAGE, FakeHttp, Launching, always
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_remote_dispatcher

pytestmark = pytest.mark.tasks_elsewhere


@pytest.fixture
async def remote(database: Database, cloud: LocalCloud) -> AsyncIterator[Dispatcher]:
    """Cloud Tasks is away as soon as its queues are there. What the stage itself adds waits in the database."""
    async with open_remote_dispatcher(cloud, database, ENGINE_TASK_CLASSES) as (dispatcher, _):
        cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
        yield dispatcher


@pytest.fixture
def loop(stage: Stage, remote: Dispatcher) -> DeadlineLoop:
    metrics = EngineMetrics(CollectorRegistry())
    return DeadlineLoop(stage.db, remote, RunningLaunches(), clock=SystemClock(), metrics=metrics)


async def report(
    remote: Dispatcher,
    run: StoredInvocation,
    status: NotifyRequest.Status = NotifyRequest.SUCCEEDED,
    lines: Sequence[str] = (),
) -> None:
    notification = NotifyRequest(status=status, log_lines=lines)
    task = HandleNotificationTask(invocation_id=run.id, job_id=run.job_id, notification=notification)
    await add_report(remote, task)


async def age_reminders(stage: Stage, seconds: int) -> None:
    """As if they had been written that much earlier."""
    await stage.db.execute("update tq_reminder set fresh_until = fresh_until - make_interval(secs => $1)", seconds)


async def park_reminders(stage: Stage) -> None:
    await stage.db.execute(
        "with gone as (delete from tq_reminder returning *) "
        "insert into tq_parked_reminder (id, parked_at, task_class, queue, attempts, error, payload) "
        "select id, ostinato_now(), $1, $2, 1, 'PERMISSION_DENIED', payload from gone",
        HANDLE_NOTIFICATION.name,
        HANDLE_NOTIFICATION.queue,
    )


async def test_nobody_is_silent_whose_reports_cloud_tasks_was_not_given(
    stage: Stage, remote: Dispatcher, loop: DeadlineLoop
) -> None:
    """Reports were answered OK, the last one told success, and the run was ended for its silence."""
    run = await silent_run(stage)
    await report(remote, run)
    await age_reminders(stage, 4)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    assert (await read(stage, run.id)).status is S.RUNNING


async def test_reports_just_on_their_way_and_reminders_of_other_classes_keep_nobody_alive(
    stage: Stage, remote: Dispatcher, loop: DeadlineLoop
) -> None:
    run = await silent_run(stage)
    async with stage.db.transaction() as tx:
        await remote.add(TRIAGE_JOB, TriageJobTask(job_id=run.job_id), tx=tx)
    await age_reminders(stage, 7200)
    await report(remote, run, NotifyRequest.RUNNING)
    await age_reminders(stage, -3600)  # however slow this process is, the report is new
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)
    assert (await row_of(stage, run.id))["error_reason"] == "HEARTBEAT_TIMEOUT"
    await age_reminders(stage, 3600)


async def test_an_end_that_is_just_on_its_way_wins_over_silence(
    stage: Stage, remote: Dispatcher, loop: DeadlineLoop
) -> None:
    run = await silent_run(stage)
    await report(remote, run)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    assert (await read(stage, run.id)).status is S.RUNNING


async def test_dead_letters_keep_nobody_alive(stage: Stage, remote: Dispatcher, loop: DeadlineLoop) -> None:
    """Somebody has to put them back first: until then one of them would keep every run alive."""
    await report(remote, await silent_run(stage))
    await park_reminders(stage)
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)


async def test_nobody_is_silent_while_there_is_too_much_on_its_way_to_tell(
    stage: Stage, remote: Dispatcher, loop: DeadlineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await silent_run(stage)
    async with stage.db.transaction() as tx:
        await remote.add_many(TRIAGE_JOB, [TriageJobTask(job_id=run.job_id)] * 3, tx=tx)
    await age_reminders(stage, 4)
    monkeypatch.setattr(reminder_store, "MOST_LOOKED_AT", 2)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=0)
    monkeypatch.setattr(reminder_store, "MOST_LOOKED_AT", 3)
    await look_is_due(stage)
    assert await loop.end_overdue() == DeadlinePass(looked_at=1, ended=1)


async def launch(stage: Stage, remote: Dispatcher, run: StoredInvocation) -> None:
    """The call fails."""
    (task,) = [task for task in await stage.launches() if task.payload.invocation_id == run.id]
    await Launching(Stage(stage.db, remote), FakeHttp(always(BROKEN))).launch(task)


async def test_an_end_that_cloud_tasks_was_not_given_decides_over_the_failure_of_the_call(
    stage: Stage, remote: Dispatcher
) -> None:
    run = await start_run(stage, target=MULTISTAGE)
    await report(remote, run)
    await launch(stage, remote, run)
    assert (await read(stage, run.id)).status is S.RUNNING


async def test_neither_ends_of_other_runs_nor_other_reports_decide_over_the_failure_of_the_call(
    stage: Stage, remote: Dispatcher
) -> None:
    other = await start_run(stage, "other", target=MULTISTAGE)
    run = await start_run(stage, target=MULTISTAGE)
    await report(remote, other, lines=[f"after {run.id}"])
    await report(remote, run, NotifyRequest.RUNNING)
    await stage.db.execute(
        "insert into tq_reminder (id, fresh_until, payload) "
        "select gen_random_uuid(), fresh_until, substring(payload from 1 for length(payload) - 10) from tq_reminder"
    )
    await launch(stage, remote, run)
    assert (await row_of(stage, run.id))["error_reason"] == "HTTP_CONNECTION"
