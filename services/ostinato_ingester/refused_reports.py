"""Reports that can't be taken, as dead letters: whoever published them gets no answer, so people must see them.

A dead letter shows the reason and the beginning of the original, without its token.
"""

from __future__ import annotations

from ostinato.errors import CallerError
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.taskqueue.stillborn_tasks import StillbornTasks
from ostinato_ingester.pubsub_message import PubSubMessage, without_token

MAX_SHOWN_BYTES = 16 * 1024
_MAX_ATTRIBUTES = 32
_MAX_ATTRIBUTE = 256
_MAX_REASON = 2000
_MAX_ORIGIN = 300


class RefusedReports:
    """Writes them."""

    def __init__(self, stillborn: StillbornTasks) -> None:
        self._stillborn = stillborn

    async def keep(self, error: CallerError, message: PubSubMessage, *, kind: str, publisher: str) -> None:
        """Returns after the commit. Raises Transient when the store can't be reached."""
        task = HandleNotificationTask(refused=describe_refusal(error, message, kind=kind, publisher=publisher))
        await self._stillborn.add(HANDLE_NOTIFICATION, task, task.refused.reason)


def describe_refusal(
    error: CallerError, message: PubSubMessage, *, kind: str, publisher: str
) -> HandleNotificationTask.Refused:
    shown = without_token(message)
    refused = HandleNotificationTask.Refused(
        reason=_text(f"{error.reason}: {error}", _MAX_REASON),
        kind=_text(kind, _MAX_ORIGIN),
        publisher=_text(publisher, _MAX_ORIGIN),
        message_id=_text(message.message_id, _MAX_ORIGIN),
        data=_text(shown.data[:MAX_SHOWN_BYTES].decode(errors="replace"), MAX_SHOWN_BYTES),
        data_bytes=len(message.data),
    )
    for name in sorted(shown.attributes)[:_MAX_ATTRIBUTES]:
        refused.attributes[_text(name, _MAX_ATTRIBUTE)] = _text(shown.attributes[name], _MAX_ATTRIBUTE)
    return refused


def _text(text: str, limit: int) -> str:
    """What a proto and the database take as text."""
    return text[:limit].replace("\x00", "\ufffd").encode(errors="replace").decode()
