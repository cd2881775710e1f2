"""Reports that were accepted and have not been applied: what the queue knows of a run before the run does.

Of those that wait in Cloud Tasks nothing is known here, only of those that it has not been given yet.
"""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.message import DecodeError

from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, reminded_payloads
from ostinato.taskqueue.embedded.backlog_store import find_payloads_beginning
from ostinato_engine.run_reports import reports_end


class EndsWait(Exception):  # noqa: N818 - control flow of whoever ended them
    """The ends of these runs were reported: what else would have ended them is to be rolled back."""

    def __init__(self, runs: set[InvocationId]) -> None:
        super().__init__()
        self.runs = runs


async def check_no_end_waits(tx: Tx, dispatcher: Dispatcher, ended: Collection[InvocationId]) -> None:
    """Call it after `tx` has ended these runs, so that what was reported before their end is seen. Raises EndsWait."""
    if ended and (reported := await find_waiting_ends(tx, dispatcher, ended)):
        raise EndsWait(reported)


async def find_waiting_ends(
    tx: Tx, dispatcher: Dispatcher, invocation_ids: Collection[InvocationId]
) -> set[InvocationId]:
    """Those of whom a final report waits. Reads the whole queue of reports, and all reminders: for few, and rarely."""
    # The id is the message's first field, and no id's bytes begin with another's.
    beginnings = [HandleNotificationTask(invocation_id=run).SerializeToString() for run in invocation_ids]
    payloads = await find_payloads_beginning(
        tx,
        dispatcher.queue_ids[HANDLE_NOTIFICATION.queue],
        beginnings,
        within=HANDLE_NOTIFICATION.retry.max_backoff,
    )
    tasks = [*map(_read, payloads), *await reminded_payloads(tx, dispatcher, HANDLE_NOTIFICATION, invocation_ids)]
    ended = {InvocationId(task.invocation_id) for task in tasks if reports_end(task.notification)}
    return ended & {*invocation_ids}


def _read(payload: bytes) -> HandleNotificationTask:
    try:
        return HandleNotificationTask.FromString(payload)
    except DecodeError:
        return HandleNotificationTask()  # its own handler will say so
