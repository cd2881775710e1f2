"""Tells whether there still is a task for something, wherever tasks of its class wait.

For repairs only: each question reads a whole queue. When in doubt, there is one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.task_class import TaskClass


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
