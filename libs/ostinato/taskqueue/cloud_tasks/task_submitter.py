"""Adds tasks to Cloud Tasks, one request each, by the official client.

Nothing is tried again in here: a reminder is kept and swept, everybody else hears of the failure and repeats.
"""

from __future__ import annotations

import logging

from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports.base import DEFAULT_CLIENT_INFO
from google.protobuf.message import DecodeError

from ostinato.taskqueue.cloud_tasks.cloud_client import CALL_TIMEOUT, code_of, text_of
from ostinato.taskqueue.cloud_tasks.plain_messages import CreateTaskRequest, Task
from ostinato.taskqueue.cloud_tasks.submit_verdicts import ALREADY_EXISTS, OK, error_of, verdict_of
from ostinato.taskqueue.reminders.submitting_port import SubmitResult

_CREATE_TASK = "/google.cloud.tasks.v2.CloudTasks/CreateTask"
_CLIENT = DEFAULT_CLIENT_INFO.to_grpc_metadata()  # type: ignore[no-untyped-call]
_log = logging.getLogger(__name__)


class TaskSubmitter:
    """A ReminderSubmitter, and what adds outside of transactions go through."""

    def __init__(self, client: tasks_v2.CloudTasksAsyncClient) -> None:
        self._client = client
        # The client's connection, credentials and headers without its wrappers: what is stored is what is sent.
        self._create_task = client.transport.grpc_channel.unary_unary(_CREATE_TASK)  # type: ignore[attr-defined]

    async def submit(self, request: bytes) -> SubmitResult:
        """Raises nothing but CancelledError."""
        try:
            parent = CreateTaskRequest.FromString(request).parent
        except DecodeError:
            return SubmitResult(verdict_of("INVALID_ARGUMENT"), "INVALID_ARGUMENT", "the request can't be decoded")
        try:
            await self._create(request, parent)
        except Exception as error:  # noqa: BLE001 - the verdict table decides, by the code
            code = code_of(error)
            _log.debug("Cloud Tasks answered %s", code)
            return SubmitResult(verdict_of(code), code, "" if code == ALREADY_EXISTS else text_of(error))
        return SubmitResult(verdict_of(OK), OK)

    async def create(self, request: tasks_v2.CreateTaskRequest) -> str | None:
        """The task's full name; None if its name is taken. Raises errors of our own tree."""
        try:
            answer = await self._create(request.SerializeToString(), request.parent)
        except Exception as error:
            if (code := code_of(error)) == ALREADY_EXISTS:
                return None
            raise error_of(code, text_of(error)) from error
        name: str = Task.FromString(answer).name
        return name

    async def _create(self, request: bytes, parent: str) -> bytes:
        routing = to_grpc_metadata((("parent", parent),))  # type: ignore[no-untyped-call]
        answer: bytes = await self._create_task(request, timeout=CALL_TIMEOUT, metadata=(_CLIENT, routing))
        return answer

    async def delete(self, name: str) -> bool:
        """False: there was no such task, or no more."""
        try:
            await self._client.delete_task(name=name, timeout=CALL_TIMEOUT, retry=None)
        except Exception as error:
            if (code := code_of(error)) == "NOT_FOUND":
                return False
            raise error_of(code, text_of(error)) from error
        return True
