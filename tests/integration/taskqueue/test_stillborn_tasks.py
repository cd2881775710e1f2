from __future__ import annotations

from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.database import Database
from ostinato.taskqueue import list_dead_letters, open_dispatcher, purge_dead_letters
from ostinato.taskqueue.stillborn_tasks import StillbornTasks


async def test_a_stillborn_task_is_a_dead_letter_like_any_other(database: Database) -> None:
    payload = HandleNotificationTask(refused=HandleNotificationTask.Refused(reason="why"))
    async with open_dispatcher(database, classes=[HANDLE_NOTIFICATION]) as dispatcher:
        ids = [await StillbornTasks(dispatcher).add(HANDLE_NOTIFICATION, payload, "why") for _ in range(2)]
        assert await dispatcher.add(HANDLE_NOTIFICATION, HandleNotificationTask()) not in ids
        newest, _ = letters = await list_dead_letters(database, queue="notifications")
        assert sorted(letter.id for letter in letters) == sorted(ids)
        assert (newest.class_name, newest.attempts, newest.error) == ("handle-notification", 0, "why")
        assert HandleNotificationTask.FromString(newest.payload) == payload
        assert await dispatcher.requeue_dead_letters(ids[:1]) == 1
        assert await purge_dead_letters(database, ids) == 1
    assert await database.fetchval("select count(*) from tq_ready where id = $1", ids[0]) == 1
