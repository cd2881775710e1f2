"""One line for each task that did not end well, and for some of those that did.

Every line has the task's fields, and says in words what becomes of it. Texts of payloads are never among them: they
may be secret.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.taskqueue.embedded.task_observer import QueueTime
from ostinato.taskqueue.embedded.worker_stats import ClassStats
from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.task_context import TaskContext

_log = logging.getLogger(__name__)
SAMPLE_EVERY = 10.0  # seconds between two successes of one class that are told


class TaskLog:
    """Of one incarnation. At level debug every success is told."""

    def __init__(self, lease: QueueTime, clock: Clock) -> None:
        self._lease = lease
        self._clock = clock

    def done(self, task: TaskContext, stats: ClassStats, monotonic: float) -> None:
        """To be called from `stats.tell_from` on, which it puts off."""
        stats.tell_from = monotonic + (0.0 if _log.isEnabledFor(logging.DEBUG) else SAMPLE_EVERY)
        _log.info("task %d (%s) done", task.id, task.class_name, extra=self._fields(task, "done", monotonic))

    def retried(self, task: TaskContext, outcome: Outcome, delay: timedelta | None) -> None:
        """`delay` None: another system decides. At level debug: what handlers expect (retry later, overloaded), and
        failures of quiet classes.
        """
        quiet = task.task_class is not None and task.task_class.quiet_on_error
        _log.log(
            logging.WARNING if outcome.verdict is Verdict.RETRY and not quiet else logging.DEBUG,
            "task %d (%s) failed, again %s: %s",
            task.id,
            task.class_name,
            "when its queue says so" if delay is None else f"in {delay.total_seconds():.1f} s",
            outcome.error,
            extra=self._fields(task, outcome.verdict, self._clock.monotonic()),
        )

    def refused(self, task: TaskContext, why: str, delay: timedelta) -> None:
        _log.warning(
            "task %d (%s) refused, again in %s: %s",
            task.id,
            task.class_name,
            delay,
            why,
            extra=self._fields(task, "refused", self._clock.monotonic()),
        )

    def dead(self, task: TaskContext, why: str) -> None:
        _log.error(
            "task %d (%s) goes to the dead letters: %s",
            task.id,
            task.class_name,
            why,
            extra=self._fields(task, Verdict.DEAD, self._clock.monotonic()),
        )

    def lost(self, task: TaskContext, why: str) -> None:
        _log.warning(
            "task %d (%s) is no longer this process's: %s",
            task.id,
            task.class_name,
            why,
            extra=self._fields(task, Verdict.LOST, self._clock.monotonic()),
        )

    def _fields(self, task: TaskContext, verdict: str, monotonic: float) -> dict[str, object]:
        """`late_ms` and `duration_ms` only of tasks that were started."""
        fields: dict[str, object] = {
            "task_id": task.id,
            "task_class": task.class_name,
            "queue": task.queue,
            "attempt": task.attempt,
            "verdict": str(verdict),
        }
        if task.started_at:
            late = self._lease.db_now(task.started_at) - task.eta
            fields["late_ms"] = round(max(0.0, late.total_seconds()) * 1000, 3)
            fields["duration_ms"] = round((monotonic - task.started_at) * 1000, 3)
        if trace := task.traceparent:
            fields["trace"] = trace.split("-")[1]
        return fields
