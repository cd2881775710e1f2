"""Brings a timer to the target that set it, and applies what the target makes of it.

Idempotent: the timer is taken by the transaction that applies its effect and completes the task, under the lock of its
invocation. If the process dies before, the timer is brought again; a task whose timer is gone (taken, or dropped by the
end of its run) does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ostinato.clock import Clock
from ostinato.errors import InvalidArgument
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobflow.invocation_session import edit_invocations
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import (
    InvocationInput,
    StoredInvocation,
    load_invocation_inputs,
    load_invocations,
    lock_invocations,
)
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.jobstore.timer_store import StoredTimer, TimerKey, consume_timers, load_timers
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleTimerTask
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.names import invocation_name
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, GroupedCalls, TaskContext, complete_many_in
from ostinato.telemetry.tracing import use_traceparent
from ostinato_engine.begin_launches import DEFINITION_INVALID
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.targets.launchers import Launchers
from ostinato_engine.targets.target import LaunchResult, Run

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _DueTimer:
    timer: StoredTimer
    invocation: StoredInvocation
    input: InvocationInput


@dataclass(frozen=True, slots=True)
class _TimerEnd:
    """What a timer led to; `due` None: it was gone already."""

    task: TaskContext
    due: _DueTimer | None
    result: LaunchResult | None = None
    log_lines: Sequence[LogLine] = ()


class HandleTimer:
    """The handler. Concurrent timers share their reads and their transactions."""

    def __init__(
        self, db: Database, dispatcher: Dispatcher, launchers: Launchers, *, clock: Clock, metrics: EngineMetrics
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._launchers = launchers
        self._clock = clock
        self._metrics = metrics
        self._find = GroupedCalls(self._find_due)
        self._save = GroupedCalls(self._save_ends)

    async def handle_timer(self, task: TaskContext, _payload: HandleTimerTask) -> None:
        due = await self._find(_key_of(task))
        end = _TimerEnd(task, None) if due is None else await self._call(task, due)
        applied = await self._save(end)
        self._metrics.timers.labels("APPLIED" if applied else "STALE").inc()

    async def _find_due(self, keys: Sequence[TimerKey]) -> Sequence[_DueTimer | None]:
        timers = await load_timers(self._db, keys)
        runs = [run for run, _ in timers]
        invocations = await load_invocations(self._db, runs)
        inputs = await load_invocation_inputs(self._db, runs)
        return [
            _DueTimer(timers[key], invocations[key[0]], inputs[key[0]])
            if key in timers and key[0] in invocations and key[0] in inputs
            else None
            for key in keys
        ]

    async def _call(self, task: TaskContext, due: _DueTimer) -> _TimerEnd:
        """What the target raises is a failure on our side: the task is tried again, the timer stays."""
        lines = [LogLine(self._clock.now(), f"Timer: {due.timer.title}")]
        try:
            definition = decode_definition(due.input.definition)
        except (DecodeError, InvalidArgument) as error:
            text = f"the stored definition can't be read: {error}"
            return _TimerEnd(task, due, LaunchResult.failed(DEFINITION_INVALID, text, retryable=False), lines)
        run = Run.of(due.invocation, invocation_name(due.input.job_name, due.invocation.id), definition)
        result = await self._launchers.handle_timer(
            run, definition.target, due.timer.payload, lambda text: lines.append(LogLine(self._clock.now(), text))
        )
        return _TimerEnd(task, due, result, lines)

    async def _save_ends(self, ends: Sequence[_TimerEnd]) -> Sequence[bool]:
        """Whether each effect was applied. Raises StaleLease if a task is no longer this process's."""
        applied: set[TimerKey] = set()
        async with self._db.transaction() as tx:
            due = {end.due.timer.key: end for end in ends if end.due is not None}
            # Timers of one run have their effects one after the other.
            for wave in _waves(due):
                locked = await lock_invocations(tx, [run for run, _ in wave])
                taken = await consume_timers(tx, [key for key in wave if key[0] in locked])
                edits = {key[0]: _edit(due[key]) for key in wave if key in taken}
                with use_traceparent(None):  # of a group: each change tells its own
                    known = {run: locked[run] for run in edits}
                    changed = await edit_invocations(tx, self._dispatcher, edits, known=known)
                applied |= {key for key in taken if key[0] in changed}
            # The release before this one ends runs without their timers.
            await consume_timers(tx, [key for end in ends if (key := _key_of(end.task)) not in applied])
            await complete_many_in(tx, [end.task for end in ends])
        return [end.due is not None and end.due.timer.key in applied for end in ends]


def _key_of(task: TaskContext) -> TimerKey:
    return InvocationId(task.payload.invocation_id), task.payload.timer_id


def _waves(keys: Iterable[TimerKey]) -> list[list[TimerKey]]:
    """Each with at most one timer of a run."""
    waves: list[list[TimerKey]] = []
    earlier: dict[InvocationId, int] = {}
    for key in sorted(keys):
        place = earlier.get(key[0], 0)
        earlier[key[0]] = place + 1
        if place == len(waves):
            waves.append([])
        waves[place].append(key)
    return waves


def _edit(end: _TimerEnd) -> Callable[[StoredInvocation], InvocationChange | None]:
    assert end.due is not None
    assert end.result is not None, "what was found was brought to its target"
    result, given = end.result, end.due.input

    def decide(found: StoredInvocation) -> InvocationChange | None:
        if found.status is not InvocationStatus.RUNNING:
            return None
        return InvocationChange(
            invocation=found,
            to_status=result.status,
            error=result.error,
            view_url=result.view_url,
            triggers=result.triggers,
            timers=result.timers,
            log_lines=end.log_lines,
            input=given,
            traceparent=end.task.traceparent,
        )

    return decide
