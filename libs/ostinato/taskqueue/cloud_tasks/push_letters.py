"""Dead letters of pushed tasks: those that failed for good, and those that nobody here can read."""

from __future__ import annotations

import hashlib

from ostinato.storage.database import Database
from ostinato.taskqueue.class_rules import CLASS_NAME
from ostinato.taskqueue.cloud_tasks.push_store import PushedLetter, bury_pushed
from ostinato.taskqueue.cloud_tasks.remote_names import number_of
from ostinato.taskqueue.cloud_tasks.task_headers import PushHeaders
from ostinato.taskqueue.embedded.queue_store import ensure_classes, ensure_queues
from ostinato.taskqueue.task_context import TaskContext
from ostinato.taskqueue.task_header import TaskHeader

_UNKNOWN = "unknown"


class PushLetters:
    """Raises errors of the database: then the task must come again."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def bury(self, task: TaskContext, headers: PushHeaders, failures: int, error: str) -> None:
        await bury_pushed(
            self._db,
            PushedLetter(
                id=task.id,
                task_name=headers.task_name,
                queue_id=await self._queue_id(headers.queue or task.queue),
                class_id=task.class_id,
                attempt=task.attempt,
                failures=failures,
                error=error,
                payload=task.payload.SerializeToString(),
                header=task.raw_header,
            ),
        )

    async def bury_request(self, class_name: str, body: bytes, headers: PushHeaders, error: str) -> None:
        """Its body as it came: a later build can be sent it again."""
        name = class_name if CLASS_NAME.fullmatch(class_name) else _UNKNOWN
        await bury_pushed(
            self._db,
            PushedLetter(
                id=number_of(headers.task_name or hashlib.sha256(body).hexdigest()),
                task_name=headers.task_name,
                queue_id=await self._queue_id(headers.queue),
                class_id=(await ensure_classes(self._db, [name]))[name],
                attempt=headers.retry_count + 1,
                failures=headers.retry_count,
                error=error,
                payload=body,
                header=TaskHeader(traceparent=headers.traceparent, title=headers.title, is_request=True).encode(),
            ),
        )

    async def _queue_id(self, queue: str) -> int:
        return (await ensure_queues(self._db, [queue]))[queue]
