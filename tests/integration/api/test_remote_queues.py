"""Queues whose tasks wait in Cloud Tasks, in the hands of administrators: what waits there is seen and purged too."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES, TRIAGE_JOB
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.pb.scheduler.v1 import admin_pb2
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher
from tests.integration.api.served_api import Client
from tests.integration.api.test_queue_admin import queue_of
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_remote_dispatcher

pytestmark = pytest.mark.leaves_damage("tasks wait in Cloud Tasks, where the invariants do not look")


@pytest.fixture
async def dispatcher(database: Database, cloud: LocalCloud) -> AsyncIterator[Dispatcher]:
    async with open_remote_dispatcher(cloud, database, ENGINE_TASK_CLASSES) as (opened, _):
        yield opened


async def pause(api: Client, name: str = "triages") -> admin_pb2.Queue:
    return await api.send("PauseQueue", admin_pb2.PauseQueueRequest(name=name))


async def add(dispatcher: Dispatcher, *jobs: int) -> None:
    async with dispatcher.db.transaction() as tx:
        await dispatcher.add_many(TRIAGE_JOB, [TriageJobTask(job_id=job) for job in jobs], tx=tx)


async def two_there_and_three_on_their_way(cloud: LocalCloud, dispatcher: Dispatcher) -> None:
    await dispatcher.add_many(TRIAGE_JOB, [TriageJobTask(job_id=job) for job in (1, 2)])
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
    await add(dispatcher, 3, 4, 5)


async def test_what_waits_there_and_on_its_way_is_counted(
    api: Client, cloud: LocalCloud, dispatcher: Dispatcher
) -> None:
    await pause(api)
    await two_there_and_three_on_their_way(cloud, dispatcher)
    queue = await queue_of(api, "triages")
    assert (queue.ready, queue.paused) == (0, True)
    assert queue.remote == admin_pb2.RemoteTasks(waiting=2, reminders=3)
    assert (await queue_of(api, "launches")).remote == admin_pb2.RemoteTasks(waiting=0, reminders=0)
    assert (await pause(api)).remote == queue.remote


async def test_a_pause_that_somebody_made_there_is_seen(api: Client, cloud: LocalCloud) -> None:
    async with cloud.client as client:
        await client.pause_queue(name=cloud.queue_path("triages"))
    queue = await queue_of(api, "triages")
    assert (queue.paused, queue.HasField("pause_time")) == (True, False)
    assert not (await queue_of(api, "launches")).paused


async def test_while_it_does_not_tell_the_rest_is_shown(api: Client, cloud: LocalCloud, dispatcher: Dispatcher) -> None:
    await pause(api)
    await two_there_and_three_on_their_way(cloud, dispatcher)
    cloud.faults.add(Fault("ListTasks", FaultKind.REFUSED))
    remote = (await queue_of(api, "triages")).remote
    assert (remote.HasField("waiting"), remote.reminders) == (False, 3)


async def test_a_purge_deletes_what_is_there_and_what_would_come_there(
    api: Client, cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    await pause(api)
    await pause(api, "launches")
    await two_there_and_three_on_their_way(cloud, dispatcher)
    assert await purged(api, "launches") == admin_pb2.PurgeQueueResponse(purged=0, purged_remote=0)
    assert await database.fetchval("select count(*) from tq_reminder") == 3
    assert await purged(api, "triages") == admin_pb2.PurgeQueueResponse(purged=3, purged_remote=2)
    assert (await database.fetchval("select count(*) from tq_reminder"), cloud.task_names()) == (0, [])


async def purged(api: Client, name: str) -> admin_pb2.PurgeQueueResponse:
    return await api.send("PurgeQueue", admin_pb2.PurgeQueueRequest(name=name))


async def test_what_is_parked_counts_as_dead(api: Client, database: Database) -> None:
    await database.execute(
        "insert into tq_parked_reminder (id, parked_at, task_class, queue, attempts, error, payload)"
        " select gen_random_uuid(), ostinato_now(), 'triage-job', 'triages', 7, 'NOT_FOUND', ''"
        "   from generate_series(1, 2)"
    )
    assert (await queue_of(api, "triages")).dead == 2
    assert (await queue_of(api, "launches")).dead == 0
