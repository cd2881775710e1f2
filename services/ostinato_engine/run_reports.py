"""What the reports on one run that are at hand together make of it: one change, in the order in which they were sent.

The first end wins, also over a launch that has not been saved: only what was called has a token to report with.
What stands behind it is late. A report whose id is known is a repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.taskqueue import TaskContext

REPORTED_FAILURE = "REPORTED_FAILURE"
MAX_RESULT_BYTES = 64 * 1024

# RETRYING shows the error of an attempt, which a change of the run would take away; its end may.
_TAKE_LINES = frozenset({InvocationStatus.STARTING, InvocationStatus.RUNNING})
_FINAL = {NotifyRequest.SUCCEEDED: InvocationStatus.SUCCEEDED, NotifyRequest.FAILED: InvocationStatus.FAILED}


class ReportOutcome(StrEnum):
    APPLIED = "APPLIED"
    NOTHING_NEW = "NOTHING_NEW"  # it says that the run is running
    REPEATED = "REPEATED"  # it was applied before
    TOO_EARLY = "TOO_EARLY"  # it needs a launch that is not being tried again
    IGNORED = "IGNORED"  # the run has ended
    FOREIGN = "FOREIGN"  # the token is of another job


SIGNS_OF_LIFE = frozenset({ReportOutcome.APPLIED, ReportOutcome.NOTHING_NEW, ReportOutcome.REPEATED})


def reports_end(message: NotifyRequest) -> bool:
    return message.status in _FINAL


@dataclass(slots=True)
class Report:
    task: TaskContext
    outcome: ReportOutcome = ReportOutcome.IGNORED

    @property
    def message(self) -> NotifyRequest:
        message: NotifyRequest = self.task.payload.notification
        return message

    @property
    def job_id(self) -> int:
        return int(self.task.payload.job_id)

    @property
    def is_final(self) -> bool:
        return reports_end(self.message)

    @property
    def adds_lines_once(self) -> bool:
        """Its id must be remembered. That of an end need not: the run has ended, and ignores a repetition."""
        return bool(self.message.message_id and self.message.log_lines) and not self.is_final


class RunReports:
    """Of one run, oldest first."""

    def __init__(self, tasks: Sequence[TaskContext]) -> None:
        self.reports = [Report(task) for task in tasks]
        self.new_ids: set[str] = set()

    @property
    def are_signs_of_life(self) -> bool:
        return any(report.outcome in SIGNS_OF_LIFE for report in self.reports)

    def ids_to_record(self, found: StoredInvocation) -> set[str]:
        """Ids that will have been applied; those that are new belong into `new_ids` then."""
        if not self._may_take_lines(found):
            return set()
        own = [report for report in self.reports if report.job_id == found.job_id]
        return {report.message.message_id for report in own if report.adds_lines_once}

    def decide(self, found: StoredInvocation) -> InvocationChange | None:
        """Of one that has not ended; without it all reports are late."""
        new_ids = set(self.new_ids)
        lines: list[LogLine] = []
        end: Report | None = None
        for report in self.reports:
            report.outcome = _judge(
                report, found, new_ids, takes_lines=self._may_take_lines(found), ended=end is not None
            )
            if report.outcome is ReportOutcome.APPLIED:
                new_ids.discard(report.message.message_id)
                lines += [LogLine(found.read_at, text) for text in report.message.log_lines]
                end = report if report.is_final else end
        if end is not None:
            return _end(found, end, lines)
        return InvocationChange(invocation=found, to_status=found.status, log_lines=lines) if lines else None

    def _may_take_lines(self, found: StoredInvocation) -> bool:
        return found.status in _TAKE_LINES or any(
            report.is_final and report.job_id == found.job_id for report in self.reports
        )


def _judge(
    report: Report, found: StoredInvocation, new_ids: set[str], *, takes_lines: bool, ended: bool
) -> ReportOutcome:
    if report.job_id != found.job_id:
        return ReportOutcome.FOREIGN
    if not takes_lines:
        return ReportOutcome.TOO_EARLY
    if ended:
        return ReportOutcome.IGNORED
    if not report.is_final and not report.message.log_lines:
        return ReportOutcome.NOTHING_NEW
    if report.adds_lines_once and report.message.message_id not in new_ids:
        return ReportOutcome.REPEATED
    return ReportOutcome.APPLIED


def _end(found: StoredInvocation, report: Report, lines: list[LogLine]) -> InvocationChange:
    status = _FINAL[report.message.status]
    result = _result(report.message)
    if result is not None and len(result) > MAX_RESULT_BYTES:
        lines.append(LogLine(found.read_at, f"The result is left out: {len(result)} bytes, {MAX_RESULT_BYTES} fit"))
        result = None
    return InvocationChange(
        invocation=found,
        to_status=status,
        error=_error(report.message, status),
        result=result,
        log_lines=lines,
        traceparent=report.task.traceparent,
    )


def _result(message: NotifyRequest) -> bytes | None:
    return message.result.SerializeToString(deterministic=True) if message.HasField("result") else None


def _error(message: NotifyRequest, status: InvocationStatus) -> RunError | None:
    if status is not InvocationStatus.FAILED:
        return None
    return RunError(REPORTED_FAILURE, message.error_message or "the run reported a failure", retryable=True)
