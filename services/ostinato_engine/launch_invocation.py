"""Calls the target of an invocation: transaction A (begin), the call outside any transaction, transaction B (save).

Idempotent by the invocation: transaction A skips what runs or has ended, the call carries the invocation's name as
its key, transaction B applies the result of whoever owns the task, once.

If the process dies before A, nothing happened. Between A and the call, during the call or before B, the task is
delivered again, A counts another attempt and the call is repeated with the same key. After B the task is gone.
A handler that is cancelled (shutdown, lost lease) writes nothing: the task is released and launched elsewhere.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.errors import RetryLater, TaskOutcomeError, Transient
from ostinato.jobflow.invocation_change import RunError
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.pb.internal.v1.engine_tasks_pb2 import LaunchInvocationTask
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.launching import RUN_TIMEOUT, GiveUpLaunch, LaunchFailure, RetryLaunch, decide_launch_outcome
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, GroupedCalls, TaskContext
from ostinato_engine.begin_launches import BeginLaunches, LaunchAttempt
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.running_launches import Interrupted, Interruption, RunningLaunches
from ostinato_engine.save_launches import LaunchEnd, SaveLaunches
from ostinato_engine.targets.launchers import Launchers
from ostinato_engine.targets.target import LaunchResult

_log = logging.getLogger(__name__)

LAUNCH_RETRIED = "LAUNCH_RETRIED"
_LOOK_AGAIN_AFTER = timedelta(seconds=5)
# A database that is away for a moment must not cost a result that is known already, and with it a second call.
_SAVE_AGAIN_AFTER = (0.1, 0.3, 1.0, 3.0)


@dataclass(slots=True)
class _RunLog:
    """Lines of one attempt, kept until transaction B."""

    clock: Clock
    lines: list[LogLine] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.lines.append(LogLine(self.clock.now(), text))


class LaunchInvocation:
    """The handler. Concurrent launches share their transactions."""

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        launchers: Launchers,
        running: RunningLaunches,
        *,
        clock: Clock,
        metrics: EngineMetrics,
    ) -> None:
        self._begin = GroupedCalls(BeginLaunches(db, dispatcher))
        self._save = GroupedCalls(SaveLaunches(db, dispatcher))
        self._launchers = launchers
        self._running = running
        self._clock = clock
        self._metrics = metrics
        self._in_hand: set[InvocationId] = set()

    async def handle_launch_invocation(self, task: TaskContext, payload: LaunchInvocationTask) -> None:
        invocation_id = InvocationId(payload.invocation_id)
        if invocation_id in self._in_hand:
            if (
                task.is_pushed
            ):  # perhaps the very task, delivered twice: done would delete it before its launch is saved
                raise RetryLater("this process is in the middle of that launch", delay=_LOOK_AGAIN_AFTER)
            return  # a second task for a launch that this process is in the middle of
        self._in_hand.add(invocation_id)
        try:
            await self._launch(task)
        finally:
            self._in_hand.discard(invocation_id)

    async def _launch(self, task: TaskContext) -> None:
        attempt = task.given if isinstance(task.given, LaunchAttempt) else await self._begin(task)
        if attempt is None:
            self._metrics.launches.labels("SKIPPED").inc()
            return
        self._count_lateness(attempt)
        end = await self._call(task, attempt)
        applied = await self._save_surely(end)
        self._metrics.launches.labels(end.status.name if end.status and applied else "DROPPED").inc()
        if end.error is not None and not end.completes_task:
            # Not Transient, whose pauses end at 5 s: what a launch meets need not be over in a moment.
            raise TaskOutcomeError(end.error.message)

    def _count_lateness(self, attempt: LaunchAttempt) -> None:
        slot, started_at = attempt.invocation.scheduled_for, attempt.invocation.started_at
        first = attempt.number == 1 and attempt.run.attempt == 1
        if slot is not None and started_at is not None and first:
            self._metrics.start_lateness.observe((started_at - attempt.due_time(slot)).total_seconds())

    async def _call(self, task: TaskContext, attempt: LaunchAttempt) -> LaunchEnd:
        log = _RunLog(self._clock)
        try:
            async with self._running.call(attempt.invocation.id, seconds=attempt.time_left.total_seconds()):
                result = await self._launchers.launch(attempt.run, attempt.definition.target, log)
        except Interrupted as interrupted:
            return _interrupted(task, attempt, log, interrupted.why)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is on our side and tried again
            _log.exception("launch attempt %d of %s failed on our side", attempt.number, attempt.run.name)
            return _failed(task, attempt, log, error)
        return _ended(task, attempt, log, result)

    async def _save_surely(self, end: LaunchEnd) -> bool:
        for pause in _SAVE_AGAIN_AFTER:
            try:
                return await self._save(end)
            except Transient as error:
                _log.warning("the result of %s was not saved, again in %s s: %s", end.attempt.run.name, pause, error)
            await self._clock.sleep(pause)
        return await self._save(end)


def _ended(task: TaskContext, attempt: LaunchAttempt, log: _RunLog, result: LaunchResult) -> LaunchEnd:
    if result.status is InvocationStatus.RUNNING:
        log("Running, until its target, a notification or the timeout ends it")
    return LaunchEnd(
        task=task,
        attempt=attempt,
        status=result.status,
        error=result.error,
        view_url=result.view_url,
        triggers=result.triggers,
        timers=result.timers,
        log_lines=log.lines,
    )


def _interrupted(task: TaskContext, attempt: LaunchAttempt, log: _RunLog, why: Interruption) -> LaunchEnd:
    if why is Interruption.STOPPED:
        return LaunchEnd(task=task, attempt=attempt, status=None)
    message = f"the run took longer than its timeout of {attempt.definition.timeout.total_seconds():g} s"
    log(message)
    error = RunError(RUN_TIMEOUT, message, retryable=True)
    return LaunchEnd(task=task, attempt=attempt, status=InvocationStatus.TIMED_OUT, error=error, log_lines=log.lines)


def _failed(task: TaskContext, attempt: LaunchAttempt, log: _RunLog, error: Exception) -> LaunchEnd:
    message = f"launch attempt {attempt.number} failed on our side: {type(error).__name__}"
    match decide_launch_outcome(LaunchFailure.TRANSIENT, attempt.number, message):
        case RetryLaunch():
            log(f"{message}; it will be tried again")
            return LaunchEnd(
                task=task,
                attempt=attempt,
                status=InvocationStatus.RETRYING,
                error=RunError(LAUNCH_RETRIED, message, retryable=True),
                log_lines=log.lines,
            )
        case GiveUpLaunch() as give_up:
            log(give_up.message)
            reason = RunError(give_up.reason, give_up.message)
            return LaunchEnd(task=task, attempt=attempt, status=give_up.status, error=reason, log_lines=log.lines)
