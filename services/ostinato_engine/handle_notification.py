"""Applies what running work reported.

Idempotent: the task is completed by the transaction that applies the notification, and what has ended stays as it
is: the first final notification of an invocation wins, from whichever launch attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ostinato.errors import RetryLater
from ostinato.jobflow.finish_invocations import InvocationChange, RunError
from ostinato.jobflow.invocation_session import edit_invocations
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation, load_invocations
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.scheduling.backoff import doubling_backoff
from ostinato.scheduling.invocation import InvocationStatus, is_initial
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, Outcome, TaskContext, complete_many_in
from ostinato_engine.engine_metrics import EngineMetrics

_log = logging.getLogger(__name__)

REPORTED_FAILURE = "REPORTED_FAILURE"
MAX_RESULT_BYTES = 64 * 1024
# The launch is still under way: its answer has not been saved yet.
_LAUNCHING_MIN = timedelta(milliseconds=100)
_LAUNCHING_MAX = timedelta(seconds=5)

_STATUSES = {
    NotifyRequest.RUNNING: InvocationStatus.RUNNING,
    NotifyRequest.SUCCEEDED: InvocationStatus.SUCCEEDED,
    NotifyRequest.FAILED: InvocationStatus.FAILED,
}


class HandleNotification:
    """The batch handler. Notifications of one invocation are applied one after the other."""

    def __init__(self, db: Database, dispatcher: Dispatcher, *, metrics: EngineMetrics) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._metrics = metrics

    async def handle_notifications(self, tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        firsts: dict[InvocationId, TaskContext] = {}
        for task in tasks:
            firsts.setdefault(InvocationId(task.payload.invocation_id), task)
        outcomes = await self._apply(firsts)
        return [outcomes[task.id] if task.id in outcomes else Outcome.again(timedelta(0)) for task in tasks]

    async def _apply(self, tasks: dict[InvocationId, TaskContext]) -> dict[int, Outcome | None]:
        edits = {invocation_id: _Edit(task.payload.notification) for invocation_id, task in tasks.items()}
        async with self._db.transaction() as tx:
            found = await load_invocations(tx, edits)
            changed = await edit_invocations(
                tx,
                self._dispatcher,
                {invocation_id: edits[invocation_id].decide for invocation_id in found},
                known=found,
            )
            launching = {invocation_id for invocation_id, edit in edits.items() if edit.is_launching}
            await complete_many_in(tx, [task for key, task in tasks.items() if key not in launching])
        outcomes: dict[int, Outcome | None] = {}
        for invocation_id, task in tasks.items():
            outcomes[task.id] = _later(task) if invocation_id in launching else None
            self._count(invocation_id, task, applied=invocation_id in changed, later=invocation_id in launching)
        return outcomes

    def _count(self, invocation_id: InvocationId, task: TaskContext, *, applied: bool, later: bool) -> None:
        outcome = "APPLIED" if applied else "TOO_EARLY" if later else "IGNORED"
        self._metrics.notifications.labels(outcome).inc()
        if outcome == "IGNORED":
            message = task.payload.notification
            status = NotifyRequest.Status.Name(message.status)
            _log.info("notification %r (%s) ignored: %d has ended", message.message_id, status, invocation_id)


@dataclass(slots=True)
class _Edit:
    """One notification's change of its invocation."""

    message: NotifyRequest
    is_launching: bool = False

    def decide(self, found: StoredInvocation) -> InvocationChange | None:
        self.is_launching = is_initial(found.status)
        if found.status is not InvocationStatus.RUNNING or self.message.status not in _STATUSES:
            return None
        status = _STATUSES[self.message.status]
        lines = [LogLine(found.read_at, text) for text in self.message.log_lines]
        if status is InvocationStatus.RUNNING:
            return InvocationChange(invocation=found, to_status=status, log_lines=lines) if lines else None
        result = self._result()
        if result is not None and len(result) > MAX_RESULT_BYTES:
            lines.append(LogLine(found.read_at, f"The result is left out: {len(result)} bytes, {MAX_RESULT_BYTES} fit"))
            result = None
        return InvocationChange(
            invocation=found, to_status=status, error=self._error(status), result=result, log_lines=lines
        )

    def _result(self) -> bytes | None:
        if not self.message.HasField("result"):
            return None
        return self.message.result.SerializeToString(deterministic=True)

    def _error(self, status: InvocationStatus) -> RunError | None:
        if status is not InvocationStatus.FAILED:
            return None
        return RunError(REPORTED_FAILURE, self.message.error_message or "the run reported a failure", retryable=True)


def _later(task: TaskContext) -> Outcome:
    delay = doubling_backoff(task.attempt, minimum=_LAUNCHING_MIN, maximum=_LAUNCHING_MAX)
    return Outcome.of_error(RetryLater("the launch has not been saved yet", delay=delay))
