"""Tells whether there still is a task for something, wherever tasks of its class wait.

Not for everyday use: each question may read a whole queue. When in doubt, there is one.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from ostinato.storage.transaction import Tx
from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.task_class import P, TaskClass


async def missing_tasks(dispatcher: Dispatcher, task_class: TaskClass[Any], ids: Collection[int]) -> set[int]:
    """Those that wait nowhere and do not run: done, dead or lost."""
    missing = await ready_store.missing_tasks(dispatcher.db, list(ids))
    remote = dispatcher.remote_of(task_class)
    if remote is None or not missing:
        return missing
    waiting = await remote.waiting(task_class)
    return set() if waiting is None else missing - waiting.numbers


async def remote_payloads(
    dispatcher: Dispatcher, task_class: TaskClass[Any], payloads: Collection[bytes]
) -> set[bytes]:
    """Those that a task of the class carries in a remote queue."""
    remote = dispatcher.remote_of(task_class)
    if remote is None or not payloads:
        return set()
    waiting = await remote.waiting(task_class)
    return set(payloads) if waiting is None else set(payloads) & waiting.payloads


async def are_reminders_late(tx: Tx, dispatcher: Dispatcher, task_class: TaskClass[Any], *, by: timedelta) -> bool:
    """Whether a task of the class was committed that long ago and its remote queue does not have it yet.

    Dead letters do not count: nothing comes of them until somebody puts them back.
    """
    remote = dispatcher.remote_of(task_class)
    return remote is not None and await remote.are_reminders_late(tx, task_class, by=by)


async def reminded_payloads(
    tx: Tx, dispatcher: Dispatcher, task_class: TaskClass[P], mentioning: Collection[int]
) -> list[P]:
    """What its remote queue does not have yet of the class, with all payloads in which one of these numbers stands."""
    remote = dispatcher.remote_of(task_class)
    return [] if remote is None else await remote.reminded(tx, task_class, mentioning)
