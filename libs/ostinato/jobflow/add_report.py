"""Takes what running work reported, as a task: when this returns it is committed here, wherever tasks wait.

Where they wait in Cloud Tasks, a report must not depend on whether that takes it now: whoever reports would be told of
our mistakes as if they were its own. What is too large for it waits in the database, which engines look into anyway.
"""

from __future__ import annotations

from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION, fair_key_of_job
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, TaskOptions

# A task of Cloud Tasks has 100 KB, and a character may be six times as long in JSON.
MAX_REMOTE_REPORT_BYTES = 16 * 1024


async def add_report(dispatcher: Dispatcher, report: HandleNotificationTask, *, tx: Tx | None = None) -> None:
    """With `tx` if it is given. Raises Transient when the store can't be reached."""
    fair_key = fair_key_of_job(report.job_id)
    if not dispatcher.is_remote(HANDLE_NOTIFICATION):
        await dispatcher.add(HANDLE_NOTIFICATION, report, tx=tx, fair_key=fair_key)
        return
    options = TaskOptions(here=report.ByteSize() > MAX_REMOTE_REPORT_BYTES)
    if tx is not None:
        await dispatcher.add(HANDLE_NOTIFICATION, report, tx=tx, fair_key=fair_key, options=options)
        return
    async with dispatcher.db.transaction() as own:
        await dispatcher.add(HANDLE_NOTIFICATION, report, tx=own, fair_key=fair_key, options=options)
