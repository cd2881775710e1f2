"""Opens the submitting side: queues and classes are created where missing, wake-ups are sent while it is open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from ostinato.clock import Clock, SystemClock
from ostinato.errors import InvalidArgument
from ostinato.storage.database import Database
from ostinato.storage.startup import patiently
from ostinato.taskqueue.administration import store_queue_settings
from ostinato.taskqueue.class_rules import check_classes
from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded.queue_store import ensure_classes, ensure_queues
from ostinato.taskqueue.queue_settings import QueueSettings, check_queue_settings
from ostinato.taskqueue.remote_queue import RemoteQueue
from ostinato.taskqueue.task_class import Backend, TaskClass
from ostinato.taskqueue.wake_up import WakeUps

_NAMESPACE = re.compile(r"|[A-Za-z_][A-Za-z0-9_]{0,49}")


@asynccontextmanager
async def open_dispatcher(
    db: Database,
    *,
    classes: Sequence[TaskClass[Any]],
    clock: Clock | None = None,
    notify: bool = True,
    namespace: str = "",
    queues: Sequence[QueueSettings] = (),
    backend: Backend = Backend.EMBEDDED,
    remote: RemoteQueue | None = None,
) -> AsyncIterator[Dispatcher]:
    """Creates the queues and classes where missing, and sends wake-ups as long as the block lasts.

    The settings of `queues` are stored for all processes; those of queues that are not named stay as they are.
    `namespace` keeps the dedup keys of programs apart that share a database and class names. Tasks of a class without
    a backend of its own go to `backend`; what goes to Cloud Tasks needs `remote`. Waits for a database that is away.
    Raises InvalidArgument, also for two classes of one name or one payload type.
    """
    check_classes(classes, backend)
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidArgument.of("namespace", "must be empty, or a letter or _ and up to 49 letters, digits or _")
    names = {queue for task_class in classes for queue in task_class.queues}
    check_queue_settings(queues, names)
    clock = clock or SystemClock()
    remote_classes = [each for each in classes if (each.backend or backend) is Backend.CLOUD_TASKS]
    if remote_classes and remote is None:
        raise InvalidArgument.of("remote", f"must be given: `{remote_classes[0].name}` waits in Cloud Tasks")
    # Also those of remote tasks: dead letters name both.
    queue_ids = await patiently(lambda: ensure_queues(db, sorted(names)), clock)
    await patiently(lambda: store_queue_settings(db, queues), clock)
    class_ids = await patiently(lambda: ensure_classes(db, [task_class.name for task_class in classes]), clock)
    if remote is not None and remote_classes:
        await remote.prepare(remote_classes, queues)
    wake_ups = WakeUps(db, clock, notify=notify)
    sender = asyncio.ensure_future(wake_ups.run())
    try:
        yield Dispatcher(
            db,
            classes,
            queue_ids,
            class_ids,
            wake_ups,
            clock=clock,
            namespace=namespace,
            backend=backend,
            remote=remote,
        )
    finally:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender
