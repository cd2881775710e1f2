"""Applies what running work reported.

Idempotent: the task is completed by the transaction that applies the notification; a message that was applied
before is known by its id; and what has ended stays as it is: the first final notification of an invocation wins, from
whichever launch attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from ostinato.errors import RetryLater
from ostinato.jobflow.finish_invocations import InvocationChange, RunError
from ostinato.jobflow.invocation_session import edit_invocations
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation, load_invocations, touch_heartbeats
from ostinato.jobstore.message_store import record_messages
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.scheduling.backoff import doubling_backoff
from ostinato.scheduling.invocation import InvocationStatus, is_initial
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, Outcome, TaskContext, complete_many_in
from ostinato_engine.engine_metrics import EngineMetrics

_log = logging.getLogger(__name__)

REPORTED_FAILURE = "REPORTED_FAILURE"
MAX_RESULT_BYTES = 64 * 1024
# The launch is still under way: its answer has not been saved yet.
_LAUNCHING_MIN = timedelta(milliseconds=100)
_LAUNCHING_MAX = timedelta(seconds=5)

_FINAL = {NotifyRequest.SUCCEEDED: InvocationStatus.SUCCEEDED, NotifyRequest.FAILED: InvocationStatus.FAILED}


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
        edits = {
            invocation_id: _Edit(task.payload.notification, task.payload.job_id, task.traceparent)
            for invocation_id, task in tasks.items()
        }
        async with self._db.transaction() as tx:
            found = await load_invocations(tx, edits)
            await _mark_repeated(tx, found, edits)
            changed = await edit_invocations(
                tx,
                self._dispatcher,
                {invocation_id: edits[invocation_id].decide for invocation_id in found},
                known=found,
            )
            await touch_heartbeats(tx, [run for run, edit in edits.items() if edit.outcome in _SIGNS_OF_LIFE])
            early = {invocation_id for invocation_id, edit in edits.items() if edit.outcome is _Outcome.TOO_EARLY}
            await complete_many_in(tx, [task for invocation_id, task in tasks.items() if invocation_id not in early])
        for invocation_id, edit in edits.items():
            if edit.outcome is _Outcome.APPLIED and invocation_id not in changed:
                edit.outcome = _Outcome.IGNORED  # it ended and went to the history between the read and the save
            self._count(invocation_id, edit)
        return {task.id: _later(task) if invocation_id in early else None for invocation_id, task in tasks.items()}

    def _count(self, invocation_id: InvocationId, edit: _Edit) -> None:
        self._metrics.notifications.labels(edit.outcome).inc()
        match edit.outcome:
            case _Outcome.IGNORED:
                status = NotifyRequest.Status.Name(edit.message.status)
                _log.info("notification %r (%s) ignored: %d has ended", edit.message.message_id, status, invocation_id)
            case _Outcome.REPEATED:
                _log.info("notification %r ignored: %d had it before", edit.message.message_id, invocation_id)
            case _Outcome.FOREIGN:
                _log.warning("notification of run %d refused: its token is one of job %d", invocation_id, edit.job_id)


class _Outcome(StrEnum):
    APPLIED = "APPLIED"
    NOTHING_NEW = "NOTHING_NEW"  # it says that the run is running
    REPEATED = "REPEATED"  # it was applied before
    TOO_EARLY = "TOO_EARLY"  # the launch has not been saved
    IGNORED = "IGNORED"  # the run has ended
    FOREIGN = "FOREIGN"  # the token is of another job


_SIGNS_OF_LIFE = frozenset({_Outcome.APPLIED, _Outcome.NOTHING_NEW, _Outcome.REPEATED})


@dataclass(slots=True)
class _Edit:
    """One notification's change of its invocation."""

    message: NotifyRequest
    job_id: int
    traceparent: str | None
    outcome: _Outcome = _Outcome.IGNORED
    is_repeated: bool = False

    def must_be_recorded(self, found: StoredInvocation) -> bool:
        """A final one need not be: it ends the run, and what has ended ignores its repetition."""
        is_applied = found.job_id == self.job_id and self._outcome(found.status) is _Outcome.APPLIED
        return is_applied and bool(self.message.message_id) and self.message.status not in _FINAL

    def decide(self, found: StoredInvocation) -> InvocationChange | None:
        self.outcome = self._outcome(found.status) if found.job_id == self.job_id else _Outcome.FOREIGN
        if self.outcome is not _Outcome.APPLIED:
            return None
        status = _FINAL.get(self.message.status, InvocationStatus.RUNNING)
        lines = [LogLine(found.read_at, text) for text in self.message.log_lines]
        if status is InvocationStatus.RUNNING:
            return InvocationChange(invocation=found, to_status=status, log_lines=lines)
        result = self._result()
        if result is not None and len(result) > MAX_RESULT_BYTES:
            lines.append(LogLine(found.read_at, f"The result is left out: {len(result)} bytes, {MAX_RESULT_BYTES} fit"))
            result = None
        return InvocationChange(
            invocation=found,
            to_status=status,
            error=self._error(status),
            result=result,
            log_lines=lines,
            traceparent=self.traceparent,
        )

    def _outcome(self, status: InvocationStatus) -> _Outcome:
        if is_initial(status):
            return _Outcome.TOO_EARLY
        if status is not InvocationStatus.RUNNING:
            return _Outcome.IGNORED
        if self.is_repeated:
            return _Outcome.REPEATED
        says_nothing = self.message.status not in _FINAL and not self.message.log_lines
        return _Outcome.NOTHING_NEW if says_nothing else _Outcome.APPLIED

    def _result(self) -> bytes | None:
        if not self.message.HasField("result"):
            return None
        return self.message.result.SerializeToString(deterministic=True)

    def _error(self, status: InvocationStatus) -> RunError | None:
        if status is not InvocationStatus.FAILED:
            return None
        return RunError(REPORTED_FAILURE, self.message.error_message or "the run reported a failure", retryable=True)


async def _mark_repeated(
    tx: Tx, found: Mapping[InvocationId, StoredInvocation], edits: Mapping[InvocationId, _Edit]
) -> None:
    asked = {
        (run.id, edits[run.id].message.message_id) for run in found.values() if edits[run.id].must_be_recorded(run)
    }
    new = await record_messages(tx, asked)
    for invocation_id, _ in asked - new:
        edits[invocation_id].is_repeated = True


def _later(task: TaskContext) -> Outcome:
    delay = doubling_backoff(task.attempt, minimum=_LAUNCHING_MIN, maximum=_LAUNCHING_MAX)
    return Outcome.of_error(RetryLater("the launch has not been saved yet", delay=delay))
