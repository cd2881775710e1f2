"""How much waits in a queue of Cloud Tasks, which tells no numbers: a page of its list is counted. For people."""

from __future__ import annotations

import logging

from google.cloud import tasks_v2

from ostinato.taskqueue.cloud_tasks.cloud_client import code_of, text_of
from ostinato.taskqueue.remote_queue import RemoteDepth

_log = logging.getLogger(__name__)
MOST_COUNTED = 1000  # tasks on a page, at the most
_SECONDS = 5.0  # somebody sits there and waits


async def look_at_queue(client: tasks_v2.CloudTasksAsyncClient, path: str, reminders: int) -> RemoteDepth:
    """`waiting` is None if it does not answer, or not this account."""
    request = tasks_v2.ListTasksRequest(parent=path, page_size=MOST_COUNTED)
    try:
        queue = await client.get_queue(name=path, timeout=_SECONDS, retry=None)
        page = await client.list_tasks(request, timeout=_SECONDS, retry=None)
    except Exception as error:  # noqa: BLE001 - whatever it is, the numbers are not known
        _log.warning("what waits in %s is not known: Cloud Tasks answered %s: %s", path, code_of(error), text_of(error))
        return RemoteDepth(None, reminders, is_paused=False)
    return RemoteDepth(len(page.tasks), reminders, is_paused=queue.state is tasks_v2.Queue.State.PAUSED)
