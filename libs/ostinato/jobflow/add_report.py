"""Takes what running work reported, as a task: when this returns it is committed here, wherever tasks wait.

Where they wait in Cloud Tasks, a report must not depend on whether that takes it now: whoever reports would be told of
our mistakes as if they were its own. What does not fit into it waits in the database, which engines look into anyway.
"""

from __future__ import annotations

from ostinato.errors import InvalidArgument
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION, fair_key_of_job
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, TaskOptions


async def add_report(dispatcher: Dispatcher, report: HandleNotificationTask, *, tx: Tx | None = None) -> None:
    """With `tx` if it is given. Raises Transient when the store can't be reached."""
    fair_key = fair_key_of_job(report.job_id)
    if not dispatcher.is_remote(HANDLE_NOTIFICATION):
        await dispatcher.add(HANDLE_NOTIFICATION, report, tx=tx, fair_key=fair_key)
        return
    if tx is None:
        async with dispatcher.db.transaction() as own:
            await add_report(dispatcher, report, tx=own)
        return
    try:
        await dispatcher.add(HANDLE_NOTIFICATION, report, tx=tx, fair_key=fair_key)
    except InvalidArgument:  # nothing is written yet, and its size there is known only once it is encoded
        await dispatcher.add(HANDLE_NOTIFICATION, report, tx=tx, fair_key=fair_key, options=TaskOptions(here=True))
