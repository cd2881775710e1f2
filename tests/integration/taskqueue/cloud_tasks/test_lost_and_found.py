"""Reminders that the happy path left behind, as a sweep finds them: each task is added once, none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.storage.database import Database, connect
from ostinato.storage.transaction import adopt
from ostinato.taskqueue import Backend, Dispatcher, Handler, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import CloudTasksQueue, open_cloud_tasks_queue
from ostinato.taskqueue.reminders.parked_store import list_parked, requeue_parked
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import CLASSES, LETTER, letter
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, receiving
from tests.integration.taskqueue.contract.test_adding import Inbox

_AT_ONCE = RefusalPolicy(spacing=timedelta(0), longest_spacing=timedelta(0), park_after=timedelta(0))


@pytest.fixture
async def remote(cloud: LocalCloud, database: Database) -> AsyncIterator[CloudTasksQueue]:
    async with open_cloud_tasks_queue(cloud.settings, database, refusals=_AT_ONCE) as opened:
        yield opened


@pytest.fixture
async def dispatcher(remote: CloudTasksQueue, database: Database) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(database, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=remote) as opened:
        yield opened


async def add(db: Database, dispatcher: Dispatcher, number: int) -> None:
    async with db.transaction() as tx:
        await dispatcher.add(LETTER, letter(number), tx=tx)


async def sweep(db: Database, remote: CloudTasksQueue) -> None:
    """What a sweep does with everything that is stale."""
    ids = [row["id"] for row in await db.fetch("select id from tq_reminder")]
    await remote.submissions.submit_batch(ids)


async def reminders(db: Database) -> int:
    count: int = await db.fetchval("select count(*) from tq_reminder")
    return count


async def until_asked(remote: CloudTasksQueue, requests: int) -> None:
    await until(lambda: sum(sum(each.counts) for each in remote.submissions.stats.submits.values()) >= requests)


async def test_a_queue_that_was_away_at_the_commit_gets_the_task_later(
    cloud: LocalCloud, remote: CloudTasksQueue, dispatcher: Dispatcher, database: Database
) -> None:
    inbox = Inbox()
    async with receiving(cloud, dispatcher, inbox.handler):
        cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
        await add(database, dispatcher, 1)
        await until_asked(remote, 1)
        await sweep(database, remote)
        assert (await reminders(database), inbox.numbers) == (1, [])
        cloud.faults.clear()
        await sweep(database, remote)
        await inbox.has(1)
    assert await reminders(database) == 0


async def test_a_submit_whose_answer_was_lost_is_not_a_second_task(
    cloud: LocalCloud, remote: CloudTasksQueue, dispatcher: Dispatcher, database: Database
) -> None:
    inbox = Inbox()
    async with receiving(cloud, dispatcher, inbox.handler):
        cloud.faults.add(Fault("CreateTask", FaultKind.ANSWER_LOST, times=1))
        await add(database, dispatcher, 1)
        await inbox.has(1)
        assert await reminders(database) == 1
        await sweep(database, remote)
        assert await reminders(database) == 0
        await add(database, dispatcher, 2)
        await inbox.has(1, 2)


async def test_what_is_refused_for_too_long_is_parked_and_runs_when_it_is_put_back(
    cloud: LocalCloud, remote: CloudTasksQueue, dispatcher: Dispatcher, database: Database
) -> None:
    inbox = Inbox()
    async with receiving(cloud, dispatcher, inbox.handler):
        cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, code="PERMISSION_DENIED"))
        await add(database, dispatcher, 1)
        await until_asked(remote, 1)
        async with asyncio.timeout(10):
            while not await list_parked(database):
                await sweep(database, remote)
        (parked,) = await list_parked(database)
        assert (parked.queue, parked.task_class, await reminders(database)) == ("mail", "letter", 0)
        assert parked.error.startswith("PERMISSION_DENIED")
        cloud.faults.clear()
        assert await requeue_parked(database, [parked.id]) == 1
        await sweep(database, remote)
        await inbox.has(1)


async def test_on_a_bare_connection_of_the_callers_own_the_next_sweep_submits(
    cloud: LocalCloud, remote: CloudTasksQueue, dispatcher: Dispatcher, database: Database
) -> None:
    connection = await connect(database.settings)
    try:
        async with connection.transaction():
            await dispatcher.add(LETTER, letter(1), tx=adopt(connection))
    finally:
        await connection.close()
    assert (await reminders(database), cloud.task_names()) == (1, [])
    inbox = Inbox()
    async with receiving(cloud, dispatcher, inbox.handler):
        await sweep(database, remote)
        await inbox.has(1)


async def test_a_delivery_whose_answer_was_lost_comes_again(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    inbox = Inbox()
    async with receiving(cloud, dispatcher, Handler.single(LETTER, inbox)):
        cloud.faults.add(Fault("dispatch", FaultKind.ANSWER_LOST, times=1))
        await add(database, dispatcher, 1)
        await inbox.has(1, 1)
    assert [task.attempt for task in inbox.tasks] == [1, 2]
    assert len({task.id for task in inbox.tasks}) == 1
