"""The reconciler where tasks wait in Cloud Tasks: what it sees there, and when it believes that something is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato.clock import SystemClock
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES, TRIAGE_JOB
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.storage.database import Database
from ostinato.taskqueue.cloud_tasks import waiting_tasks
from ostinato.taskqueue.cloud_tasks.pushed_task import pushed_task
from ostinato.taskqueue.cloud_tasks.task_headers import PushHeaders
from ostinato_engine.reconcile_loop import Reconciled, ReconcileLoop
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_reconcile_loop import age_everything
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_remote_dispatcher

pytestmark = pytest.mark.tasks_elsewhere


@pytest.fixture
async def stage(database: Database, cloud: LocalCloud) -> AsyncIterator[Stage]:
    """Nobody takes what is pushed: tasks stay where they are."""
    async with open_remote_dispatcher(cloud, database, ENGINE_TASK_CLASSES) as (dispatcher, _):
        yield Stage(database, dispatcher)


@pytest.fixture
def reconciler(stage: Stage) -> ReconcileLoop:
    async def nothing_due() -> None:
        pass

    return ReconcileLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics, fire_due=nothing_due)


async def submitted(stage: Stage) -> None:
    while await stage.db.fetchval("select count(*) from tq_reminder"):
        await SystemClock().sleep(0.01)


async def triage(stage: Stage, job_id: int) -> None:
    payload, class_id = TriageJobTask(job_id=job_id), stage.dispatcher.class_ids[TRIAGE_JOB.name]
    task = pushed_task(TRIAGE_JOB, class_id, PushHeaders(), payload, now=SystemClock().now(), excused=0)
    await stage.triage_jobs.handle_triage_jobs([task])


async def purge(cloud: LocalCloud, queue: str) -> None:
    async with cloud.client as client:
        await client.purge_queue(name=cloud.queue_path(queue))


async def test_a_triage_that_waits_there_is_on_its_way_and_a_lost_one_is_added_in_the_second_round(
    stage: Stage, cloud: LocalCloud, reconciler: ReconcileLoop
) -> None:
    await stage.emit_ids(await stage.add_job("j"), "t")
    await submitted(stage)
    await age_everything(stage)
    assert [await reconciler.reconcile(), await reconciler.reconcile()] == [Reconciled(), Reconciled()]
    await purge(cloud, "triages")
    assert await reconciler.reconcile() == Reconciled()
    assert await reconciler.reconcile() == Reconciled(triages=1)
    await submitted(stage)
    assert len(cloud.task_names()) == 1


async def test_a_launch_is_found_by_its_number(stage: Stage, cloud: LocalCloud, reconciler: ReconcileLoop) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t")
    await triage(stage, job_id)
    await submitted(stage)
    await age_everything(stage)
    assert [await reconciler.reconcile(), await reconciler.reconcile()] == [Reconciled(), Reconciled()]
    await purge(cloud, "launches")
    assert await reconciler.reconcile() == Reconciled()
    assert await reconciler.reconcile() == Reconciled(launches=1)
    assert await reconciler.reconcile() == Reconciled()


async def test_what_is_a_reminder_still_is_not_lost(stage: Stage, cloud: LocalCloud, reconciler: ReconcileLoop) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
    await stage.emit_ids(await stage.add_job("j"), "t")
    await age_everything(stage)
    assert [await reconciler.reconcile(), await reconciler.reconcile()] == [Reconciled(), Reconciled()]


async def test_nothing_is_repaired_that_can_not_be_looked_at(
    stage: Stage, cloud: LocalCloud, reconciler: ReconcileLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.emit_ids(await stage.add_job("j"), "t")
    await submitted(stage)
    await purge(cloud, "triages")
    await age_everything(stage)
    cloud.faults.add(Fault("ListTasks", FaultKind.REFUSED, code="PERMISSION_DENIED"))
    assert [await reconciler.reconcile(), await reconciler.reconcile()] == [Reconciled(), Reconciled()]
    cloud.faults.clear()
    monkeypatch.setattr(waiting_tasks, "MOST_LISTED", -1)
    assert [await reconciler.reconcile(), await reconciler.reconcile()] == [Reconciled(), Reconciled()]
