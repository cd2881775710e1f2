"""Reminders by the queue that their tasks are for, which only their payloads tell: all of them are read for it."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from google.protobuf.message import DecodeError

from ostinato.storage.database import Database
from ostinato.taskqueue.cloud_tasks.plain_messages import CreateTaskRequest
from ostinato.taskqueue.reminders.reminder import decode_reminder
from ostinato.taskqueue.reminders.reminder_store import delete_reminders, load_ids, load_page, load_payloads

MOST_COUNTED = 10_000
_PAGE = 1000
_FIRST = UUID(int=0)
_ID_BYTES = 16


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


async def delete_reminders_of(db: Database, queue_path: str) -> int:
    """Those that are committed when this begins, nothing that comes later; returns how many. In pages."""
    ids, deleted = await load_ids(db), 0
    for first in range(0, len(ids), _PAGE * _ID_BYTES):
        starts = range(first, min(first + _PAGE * _ID_BYTES, len(ids)), _ID_BYTES)
        found = await load_payloads(db, [UUID(bytes=ids[start : start + _ID_BYTES]) for start in starts])
        chosen = [each for each, payload in found.items() if _queue_of(payload) == queue_path]
        deleted += len(await delete_reminders(db, chosen))
    return deleted


def _queue_of(payload: bytes) -> str:
    """Empty for one that can't be read."""
    reminder = decode_reminder(payload)
    if reminder is None:
        return ""
    try:
        parent: str = CreateTaskRequest.FromString(reminder.create_task_request).parent
    except DecodeError:
        return ""
    return parent
