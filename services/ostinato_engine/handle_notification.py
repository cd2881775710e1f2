"""Applies what running work reported.

Idempotent: the task is completed by the transaction that applies the notification; a message that was applied
before is known by its id; and what has ended stays as it is: the first final notification of an invocation wins, from
whichever launch attempt, and whatever becomes of the launch. Invocations are locked first, so that an id is recorded
by whoever applies the message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from ostinato.errors import Fatal, RetryLater
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobstore.invocation_store import StoredInvocation, lock_invocations, touch_heartbeats
from ostinato.jobstore.message_store import record_messages
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.scheduling.backoff import doubling_backoff
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, Outcome, TaskContext, complete_many_in
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.run_reports import Report, ReportOutcome, RunReports

_log = logging.getLogger(__name__)

# The launch is being tried again.
_LAUNCHING_MIN = timedelta(milliseconds=100)
_LAUNCHING_MAX = timedelta(seconds=5)
# In one change of a run, one report more than that: memory, and the numbers of lines in a save.
_MAX_LINES = 2000

_Tasks = Mapping[InvocationId, RunReports]


class HandleNotification:
    """The batch handler. What is reported on one run is applied as one change, in order."""

    def __init__(self, db: Database, dispatcher: Dispatcher, *, metrics: EngineMetrics) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._metrics = metrics

    async def handle_notifications(self, tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        outcomes: dict[int, Outcome | None] = {task.id: _refused(task) for task in tasks if _was_refused(task)}
        runs = _by_run([task for task in tasks if not _was_refused(task)])
        await self._apply(runs)
        outcomes |= {report.task.id: self._outcome(run, report) for run in runs for report in runs[run].reports}
        return [outcomes[task.id] if task.id in outcomes else Outcome.again(timedelta(0)) for task in tasks]

    async def _apply(self, runs: _Tasks) -> None:
        async with self._db.transaction() as tx:
            found = await lock_invocations(tx, runs)
            await _recognize_repetitions(tx, found, runs)
            changes = [runs[run].decide(row) for run, row in found.items()]
            await apply_changes(tx, self._dispatcher, [change for change in changes if change is not None])
            await touch_heartbeats(tx, [run for run in found if runs[run].are_signs_of_life])
            await complete_many_in(tx, [report.task for report in _all(runs) if not _is_early(report)])

    def _outcome(self, run: InvocationId, report: Report) -> Outcome | None:
        self._metrics.notifications.labels(report.outcome).inc()
        match report.outcome:
            case ReportOutcome.TOO_EARLY:
                return _later(report.task)
            case ReportOutcome.IGNORED:
                status = NotifyRequest.Status.Name(report.message.status)
                _log.info("notification %r (%s) ignored: %d has ended", report.message.message_id, status, run)
            case ReportOutcome.REPEATED:
                _log.info("notification %r ignored: %d had it before", report.message.message_id, run)
            case ReportOutcome.FOREIGN:
                _log.warning("notification of run %d refused: its token is one of job %d", run, report.job_id)
        return None


def _was_refused(task: TaskContext) -> bool:
    return bool(task.payload.HasField("refused"))


def _refused(task: TaskContext) -> Outcome:
    """It was a dead letter, and somebody requeued it."""
    return Outcome.of_error(Fatal(f"refused when it came: {task.payload.refused.reason}"))


def _by_run(tasks: Sequence[TaskContext]) -> dict[InvocationId, RunReports]:
    """In the order in which they were added. Of a run that is talked about a lot the first ones."""
    chosen: dict[InvocationId, list[TaskContext]] = {}
    lines: dict[InvocationId, int] = {}
    for task in sorted(tasks, key=lambda each: each.eta):
        run = InvocationId(task.payload.invocation_id)
        if lines.get(run, 0) <= _MAX_LINES:
            chosen.setdefault(run, []).append(task)
        lines[run] = lines.get(run, 0) + len(task.payload.notification.log_lines)
    return {run: RunReports(reports) for run, reports in chosen.items()}


def _all(runs: _Tasks) -> Iterable[Report]:
    return (report for reports in runs.values() for report in reports.reports)


def _is_early(report: Report) -> bool:
    return report.outcome is ReportOutcome.TOO_EARLY


async def _recognize_repetitions(tx: Tx, found: Mapping[InvocationId, StoredInvocation], runs: _Tasks) -> None:
    asked = {(run.id, message_id) for run in found.values() for message_id in runs[run.id].ids_to_record(run)}
    for run, message_id in await record_messages(tx, asked):
        runs[run].new_ids.add(message_id)


def _later(task: TaskContext) -> Outcome:
    delay = doubling_backoff(task.attempt, minimum=_LAUNCHING_MIN, maximum=_LAUNCHING_MAX)
    return Outcome.of_error(RetryLater("the launch is being tried again", delay=delay))
