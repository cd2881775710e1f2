"""Ends the runs that last too long or are silent too long.

Deadlines are lazy: a stored one says when to look, the decision is made from what is true then. Any number of
engines run this loop; each due row is locked by one of them. A row whose input can't be read must not stop the
deadlines of all the others: it gets the default timeout. Nobody is called silent while reports wait to be applied, and
nobody is timed out whose end is among them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.message import DecodeError

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobstore.deadline_store import DueRun, lock_due_deadlines, move_deadlines, next_deadline
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import InvocationInput, StoredInvocation, load_invocation_inputs
from ostinato.jobstore.job_definition_codec import decode_timeouts
from ostinato.scheduling.deadline import (
    HEARTBEAT_TIMEOUT,
    LATE_LOOK,
    DeadlineDecision,
    LookAgainAt,
    RunTimeouts,
    RunTimes,
    TimedOut,
    decide_deadline,
)
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import DEFAULT_TIMEOUT
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, are_reminders_late
from ostinato.taskqueue.embedded.backlog_store import is_behind
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.running_launches import RunningLaunches
from ostinato_engine.waiting_reports import EndsWait, check_no_end_waits

_log = logging.getLogger(__name__)
_BATCH = 500
_MOST_ASKED = 50  # at once, whether their ends wait
_BROKEN_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class DeadlinePass:
    """What one transaction did."""

    looked_at: int
    ended: int


class DeadlineLoop:
    """`longest_sleep`: a deadline that is added meanwhile is seen at most that much later."""

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        running: RunningLaunches,
        *,
        clock: Clock,
        metrics: EngineMetrics,
        longest_sleep: timedelta = timedelta(seconds=1),
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._running = running
        self._clock = clock
        self._metrics = metrics
        self._longest_sleep = longest_sleep

    async def run(self) -> None:
        while True:
            try:
                pause = await self.look_once()
            except OstinatoError as error:
                _log.warning("deadlines were not looked at: %s", error)
                pause = self._longest_sleep
            await self._clock.sleep(pause.total_seconds())

    async def look_once(self) -> timedelta:
        """Ends what is overdue; returns how long nothing is going to be."""
        due = await next_deadline(self._db)
        if due.at is None or due.at - due.now >= self._longest_sleep:
            return self._longest_sleep
        if due.at > due.now:
            return due.at - due.now
        done = await self.end_overdue()
        return timedelta(0) if done.looked_at else self._longest_sleep

    async def end_overdue(self) -> DeadlinePass:
        reported: set[InvocationId] = set()
        while True:
            try:
                return await self._try_to_end_overdue(reported)
            except EndsWait as found:
                reported |= found.runs

    async def _try_to_end_overdue(self, reported: Collection[InvocationId]) -> DeadlinePass:
        """`reported`: runs that have told their ends, which are yet to be applied. Raises EndsWait for others."""
        async with self._db.transaction() as tx:
            found = await lock_due_deadlines(tx, limit=_BATCH)
            if not found:
                return DeadlinePass(0, 0)
            inputs = await load_invocation_inputs(tx, [due.invocation.id for due in found])

            def decide(*, unheard: bool = False) -> list[tuple[StoredInvocation, DeadlineDecision]]:
                return [
                    _decide(due, inputs.get(due.invocation.id), unheard=unheard, reported=reported) for due in found
                ]

            decisions = decide()
            if any(_is_silence(decision) for _, decision in decisions) and await self._reports_wait(tx):
                decisions = decide(unheard=True)
            over = [(run, decision) for run, decision in decisions if isinstance(decision, TimedOut)]
            asked = [run.id for run, _ in over if run.id not in reported and _timeouts_of(inputs[run.id]).can_report]
            next_time = set(asked[_MOST_ASKED:])
            changes = [_time_out(run, decision, inputs[run.id]) for run, decision in over if run.id not in next_time]
            ended = await apply_changes(tx, self._dispatcher, changes)
            await check_no_end_waits(tx, self._dispatcher, [run for run in asked[:_MOST_ASKED] if run in ended])
            await move_deadlines(
                tx, {run.id: decision.at for run, decision in decisions if isinstance(decision, LookAgainAt)}
            )
        for invocation_id in ended:
            self._running.stop(invocation_id)
        self._count([change for change in changes if change.invocation.id in ended])
        return DeadlinePass(len(found), len(ended))

    async def _reports_wait(self, tx: Tx) -> bool:
        """What was reported may not have been applied: the queue is paused, or who takes it doesn't keep up."""
        queue_id = self._dispatcher.queue_ids[HANDLE_NOTIFICATION.queue]
        return await is_behind(tx, queue_id, by=LATE_LOOK) or await are_reminders_late(
            tx, self._dispatcher, HANDLE_NOTIFICATION, by=LATE_LOOK
        )

    def _count(self, ended: Sequence[InvocationChange]) -> None:
        for change in ended:
            assert change.error is not None, "a timeout says which one it is"
            self._metrics.timed_out.labels(change.error.reason).inc()


def _decide(
    due: DueRun, given: InvocationInput | None, *, unheard: bool, reported: Collection[InvocationId]
) -> tuple[StoredInvocation, DeadlineDecision]:
    run = due.invocation
    if given is None:
        _log.error("invocation %d has lost its input: nobody can end it", run.id)
        return run, LookAgainAt(run.read_at + _BROKEN_AGAIN)
    times = RunTimes(run.created_at, run.started_at, run.last_heartbeat_at)
    timeouts = _timeouts_of(given)
    decision = decide_deadline(
        run.status, times, timeouts, run.read_at, due_at=due.due_at, unheard=unheard, end_waits=run.id in reported
    )
    return run, decision


def _is_silence(decision: DeadlineDecision) -> bool:
    return isinstance(decision, TimedOut) and decision.reason == HEARTBEAT_TIMEOUT


def _timeouts_of(given: InvocationInput) -> RunTimeouts:
    try:
        return decode_timeouts(given.definition)
    except DecodeError as error:
        _log.error("a run of %s gets the default timeout, its definition can't be read: %s", given.job_name, error)
        return RunTimeouts(DEFAULT_TIMEOUT)


def _time_out(run: StoredInvocation, why: TimedOut, given: InvocationInput) -> InvocationChange:
    message = _told(why, _timeouts_of(given))
    return InvocationChange(
        invocation=run,
        to_status=InvocationStatus.TIMED_OUT,
        error=RunError(why.reason, message, retryable=True),
        log_lines=[LogLine(run.read_at, message)],
        input=given,
    )


def _told(why: TimedOut, timeouts: RunTimeouts) -> str:
    if why.reason == HEARTBEAT_TIMEOUT and timeouts.heartbeat is not None:
        return f"the run gave no sign of life for its heartbeat timeout of {timeouts.heartbeat.total_seconds():g} s"
    return f"the run took longer than its timeout of {timeouts.run.total_seconds():g} s"
