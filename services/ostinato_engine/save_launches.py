"""Transaction B of launches: results and the ends of their tasks, many at once.

Idempotent: a result is applied only by the owner of its task, together with the task's end. What ended in the
meantime (reported, aborted, timed out) stays as it is, and what is about to end by a report that waits in the queue is
left running for it where only the call failed. An attempt that a stalled process counted since then takes nothing
from the owner: a task completed without its result would leave a run that nobody brings anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobflow.invocation_session import edit_invocations
from ostinato.jobflow.invocation_timers import NewTimer
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import InvocationStatus, is_initial
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.targets import can_report
from ostinato.storage.database import FEW_ROWS, Database
from ostinato.taskqueue import Dispatcher, TaskContext, complete_many_in
from ostinato.telemetry.tracing import use_traceparent
from ostinato_engine.begin_launches import LaunchAttempt
from ostinato_engine.waiting_reports import EndsWait, check_no_end_waits


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnd:
    """What an attempt led to. RETRYING leaves the task to be tried again, everything else completes it.

    `status` None: the run was ended by somebody else, only the task is to be completed.
    """

    task: TaskContext
    attempt: LaunchAttempt
    status: InvocationStatus | None
    error: RunError | None = None
    view_url: str | None = None
    triggers: Sequence[Trigger] = ()
    timers: Sequence[NewTimer] = ()
    log_lines: Sequence[LogLine] = ()

    @property
    def completes_task(self) -> bool:
        return self.status is not InvocationStatus.RETRYING


class SaveLaunches:
    def __init__(self, db: Database, dispatcher: Dispatcher) -> None:
        self._db = db
        self._dispatcher = dispatcher

    async def __call__(self, ends: Sequence[LaunchEnd]) -> Sequence[bool]:
        """Whether each result was applied. Raises StaleLease if a task is no longer this process's."""
        with use_traceparent(None):  # of a group: each end tells its own
            changed = await self._save(ends)
        return [end.attempt.invocation.id in changed for end in ends]

    async def _save(self, ends: Sequence[LaunchEnd]) -> Collection[InvocationId]:
        while True:
            try:
                return await self._try_to_save(ends)
            except EndsWait as found:
                ends = [_left_running(end) if end.attempt.invocation.id in found.runs else end for end in ends]

    async def _try_to_save(self, ends: Sequence[LaunchEnd]) -> Collection[InvocationId]:
        async with self._db.transaction(few_rows=len(ends) <= FEW_ROWS) as tx:
            changed = await edit_invocations(
                tx,
                self._dispatcher,
                {end.attempt.invocation.id: _edit(end, end.status) for end in ends if end.status is not None},
                known={end.attempt.invocation.id: end.attempt.invocation for end in ends if end.status is not None},
            )
            at_work = [end.attempt.invocation.id for end in ends if _may_be_at_work(end)]
            await check_no_end_waits(tx, self._dispatcher, at_work)
            await complete_many_in(tx, [end.task for end in ends if end.completes_task])
        return changed


def _may_be_at_work(end: LaunchEnd) -> bool:
    """The failure of a call says less than the work itself, which may have got the call all the same."""
    return end.status is InvocationStatus.FAILED and can_report(end.attempt.definition.target)


def _left_running(end: LaunchEnd) -> LaunchEnd:
    line = LogLine(end.attempt.invocation.read_at, "Its end was reported meanwhile: that report decides")
    return replace(end, status=InvocationStatus.RUNNING, error=None, log_lines=[*end.log_lines, line])


def _edit(end: LaunchEnd, status: InvocationStatus) -> Callable[[StoredInvocation], InvocationChange | None]:
    def decide(found: StoredInvocation) -> InvocationChange | None:
        if not is_initial(found.status):
            return None
        if not end.completes_task and found.launch_attempts != end.attempt.number:
            return None  # no task's end judges who may say this, and somebody is at it again
        return InvocationChange(
            invocation=found,
            to_status=status,
            error=end.error,
            view_url=end.view_url,
            triggers=end.triggers,
            timers=end.timers,
            log_lines=end.log_lines,
            input=end.attempt.input,
            traceparent=end.task.traceparent,
        )

    return decide
