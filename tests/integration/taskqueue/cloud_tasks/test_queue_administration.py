"""A remote queue is paused, resumed and purged where it is, and asked for what waits in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from google.cloud import tasks_v2

from ostinato.clock import SystemClock
from ostinato.errors import NotFound
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    Backend,
    Dispatcher,
    RemoteQueue,
    missing_tasks,
    open_dispatcher,
    remote_payloads,
)
from ostinato.taskqueue.cloud_tasks import waiting_reminders
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import open_cloud_tasks_queue
from ostinato.taskqueue.reminders.reminder_store import delete_reminders
from tests.integration.taskqueue.contract.conftest import CLASSES, LETTER, letter
from tests.integration.taskqueue.contract.local_cloud import LocalCloud


@pytest.fixture
def remote(dispatcher: Dispatcher) -> RemoteQueue:
    found = dispatcher.remote_of_queue("mail")
    assert found is not None
    return found


async def state_of(cloud: LocalCloud, queue: str) -> tasks_v2.Queue.State:
    async with cloud.client as client:
        return (await client.get_queue(name=cloud.queue_path(queue))).state


async def test_it_is_paused_and_resumed_as_often_as_one_likes(cloud: LocalCloud, remote: RemoteQueue) -> None:
    for _ in range(2):
        await remote.pause("mail")
        assert await state_of(cloud, "mail") == tasks_v2.Queue.State.PAUSED
    for _ in range(2):
        await remote.resume("mail")
        assert await state_of(cloud, "mail") == tasks_v2.Queue.State.RUNNING


async def test_a_purge_deletes_what_waits(cloud: LocalCloud, dispatcher: Dispatcher, remote: RemoteQueue) -> None:
    await remote.pause("mail")
    await dispatcher.add_many(LETTER, [letter(n) for n in range(3)])
    assert len(cloud.task_names()) == 3
    await remote.purge("mail")
    assert cloud.task_names() == []


class OtherClock(SystemClock):
    """Of a machine whose time is an hour ahead."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


async def test_a_purge_deletes_what_was_committed_before_it_whatever_the_clock_of_who_added_it(
    cloud: LocalCloud, database: Database, remote: RemoteQueue
) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
    async with (
        open_cloud_tasks_queue(cloud.settings, database, clock=OtherClock()) as elsewhere,
        open_dispatcher(database, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=elsewhere) as dispatcher,
        database.transaction() as tx,
    ):
        await dispatcher.add(LETTER, letter(1), tx=tx)
    assert await remote.purge("mail") == 1


async def test_a_purge_leaves_what_is_committed_after_it_began(
    cloud: LocalCloud,
    database: Database,
    dispatcher: Dispatcher,
    remote: RemoteQueue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came later was purged too where it came from a machine whose time was behind."""
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
    async with database.transaction() as tx:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(3)], tx=tx)
    later = UUID(int=2**128 - 1)

    async def delete_and_see_another_come(db: Database, ids: Sequence[UUID]) -> set[UUID]:
        await db.execute(
            "insert into tq_reminder (id, fresh_until, payload) select $1, fresh_until, payload from tq_reminder "
            "limit 1 on conflict do nothing",
            later,
        )
        return await delete_reminders(db, ids)

    monkeypatch.setattr(waiting_reminders, "_PAGE", 1)
    monkeypatch.setattr(waiting_reminders, "delete_reminders", delete_and_see_another_come)
    assert await remote.purge("mail") == 3
    assert [row["id"] for row in await database.fetch("select id from tq_reminder")] == [later]


async def test_an_unknown_queue_is_told(dispatcher: Dispatcher, remote: RemoteQueue) -> None:
    assert dispatcher.remote_of_queue("nowhere") is None
    with pytest.raises(NotFound, match="nowhere"):
        await remote.pause("nowhere")


async def test_tasks_are_known_by_number_and_payload_wherever_they_wait(
    cloud: LocalCloud, dispatcher: Dispatcher, database: Database
) -> None:
    listed = await dispatcher.add(LETTER, letter(1))
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED))
    async with database.transaction() as tx:
        reminded = await dispatcher.add(LETTER, letter(2), tx=tx)
    assert await missing_tasks(dispatcher, LETTER, [listed, reminded, 77]) == {77}
    payloads = [letter(n).SerializeToString() for n in range(1, 4)]
    assert await remote_payloads(dispatcher, LETTER, payloads) == {*payloads[:2]}
    cloud.faults.add(Fault("ListTasks", FaultKind.REFUSED))
    assert await missing_tasks(dispatcher, LETTER, [77]) == set()
    assert await remote_payloads(dispatcher, LETTER, payloads) == {*payloads}
