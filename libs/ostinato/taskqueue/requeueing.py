"""Puts dead letters back where tasks of their class wait now: rows into our own queue, the others to the remote one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.dead_letters import parked_ids
from ostinato.taskqueue.embedded.dead_letter_store import (
    LockedLetter,
    lock_dead_letters,
    purge_dead_letters,
    requeue_dead_letters,
)
from ostinato.taskqueue.reminders.parked_store import requeue_parked
from ostinato.taskqueue.remote_queue import RemoteAdd, RemoteQueue
from ostinato.taskqueue.task_class import TaskClass
from ostinato.taskqueue.task_header import decode_header
from ostinato.taskqueue.task_options import TaskOptions


async def requeue_letters(
    tx: Tx, ids: Sequence[int], remote_classes: Mapping[str, TaskClass[Any]], remote: RemoteQueue | None
) -> tuple[int, list[int]]:
    """How many went to the remote queue, and the strands of the others.

    Unknown ids, and requests and reminders without a remote queue, are passed over.
    """
    if remote is None:
        return 0, await requeue_dead_letters(tx, ids)
    reminded = await requeue_parked(tx, await parked_ids(tx, ids))
    letters = await lock_dead_letters(tx, ids)
    sent = [each.id for each in letters if await _send(tx, each, remote_classes.get(each.class_name), remote)]
    await purge_dead_letters(tx, sent)
    return reminded + len(sent), await requeue_dead_letters(tx, [*{*ids} - {*sent}])


async def _send(tx: Tx, letter: LockedLetter, task_class: TaskClass[Any] | None, remote: RemoteQueue) -> bool:
    """False: it is none for the remote queue."""
    header = decode_header(letter.header)
    if header.is_request:
        await remote.add_requests(tx, letter.class_name, letter.queue, [letter.payload])
        return True
    if task_class is None:
        return False
    try:
        payload = task_class.payload.FromString(letter.payload)
    except DecodeError:
        return False
    options = TaskOptions(title=header.title, retry=header.retry)
    try:
        await remote.add(RemoteAdd(task_class, [payload], options=options), tx)
    except InvalidArgument:  # it waited here before, being too large to wait there
        return False
    return True
