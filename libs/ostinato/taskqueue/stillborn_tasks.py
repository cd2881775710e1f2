"""Tasks that are dead letters from the beginning: it can't even be tried, but people must hear of it."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded.stillborn_store import StillbornTask, insert_stillborn
from ostinato.taskqueue.task_class import TaskClass
from ostinato.taskqueue.task_ids import TaskIds


class StillbornTasks:
    """`dispatcher` knows their classes and queues."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._ids = TaskIds(dispatcher.db)

    async def add(self, task_class: TaskClass[Any], payload: Message, error: str) -> int:
        """Its id. Returns after the commit. Raises CommitOutcomeUnknown: then it may be there."""
        (task_id,) = await self._ids.take(1, None)
        task = StillbornTask(
            id=task_id,
            queue_id=self._dispatcher.queue_ids[task_class.queue],
            class_id=self._dispatcher.class_ids[task_class.name],
            error=error,
            payload=payload.SerializeToString(),
        )
        await self._dispatcher.db.transact(lambda tx: insert_stillborn(tx, task))
        return task_id
