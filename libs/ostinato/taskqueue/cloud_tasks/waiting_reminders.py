"""Reminders by the queue that their tasks are for, which only their payloads tell: all of them are read for it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.message import DecodeError

from ostinato.storage.database import Database
from ostinato.taskqueue.cloud_tasks.plain_messages import CreateTaskRequest
from ostinato.taskqueue.reminders.reminder import decode_reminder
from ostinato.taskqueue.reminders.reminder_store import delete_reminders, load_page

MOST_COUNTED = 10_000
_PAGE = 1000
_FIRST = UUID(int=0)


async def count_reminders(db: Database) -> Counter[str]:
    """By the full names of queues; of the first 10,000."""
    counts: Counter[str] = Counter()
    after = _FIRST
    for _ in range(MOST_COUNTED // _PAGE):
        page = await load_page(db, after, _PAGE)
        counts.update(path for payload in page.values() if (path := _queue_of(payload)))
        if len(page) < _PAGE:
            break
        after = max(page)
    return counts


async def delete_reminders_of(db: Database, queue_path: str, before: datetime) -> int:
    """Those made before then, by the clock of who made them; returns how many. In pages."""
    deleted, after = 0, _FIRST
    while True:
        page = await load_page(db, after, _PAGE)
        chosen = [each for each, payload in page.items() if _queue_of(payload, before) == queue_path]
        deleted += len(await delete_reminders(db, chosen))
        if len(page) < _PAGE:
            return deleted
        after = max(page)


def _queue_of(payload: bytes, before: datetime | None = None) -> str:
    """Empty for one that can't be read, or was not made before then."""
    reminder = decode_reminder(payload)
    if reminder is None or (before is not None and reminder.created.ToDatetime(tzinfo=UTC) > before):
        return ""
    try:
        parent: str = CreateTaskRequest.FromString(reminder.create_task_request).parent
    except DecodeError:
        return ""
    return parent
