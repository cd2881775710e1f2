"""Transaction A of launches: counts the attempt and commits it before anything outside is called.

Idempotent: it does nothing to an invocation that runs already or has ended, and repeating it only counts one more
attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.jobflow.invocation_change import InvocationChange, RunError
from ostinato.jobflow.invocation_session import edit_invocations
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import (
    ChangedInvocation,
    InvocationInput,
    StoredInvocation,
    load_invocation_inputs,
    load_invocations,
)
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.scheduling.invocation import InvocationStatus, is_initial
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.launching import GiveUpLaunch, SkipLaunch, StartLaunch, decide_launch
from ostinato.scheduling.names import invocation_name
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.storage.database import FEW_ROWS, Database
from ostinato.taskqueue import Dispatcher, TaskContext, complete_many_in
from ostinato.telemetry.tracing import use_traceparent
from ostinato_engine.targets.target import Run

DEFINITION_INVALID = "DEFINITION_INVALID"


@dataclass(frozen=True, slots=True)
class LaunchAttempt:
    """An attempt that is counted and committed: now the target may be called."""

    invocation: StoredInvocation  # as the commit left it
    input: InvocationInput
    definition: JobDefinition
    number: int
    time_left: timedelta  # until the run's timeout

    @property
    def run(self) -> Run:
        return Run.of(self.invocation, invocation_name(self.input.job_name, self.invocation.id), self.definition)

    def due_time(self, slot: datetime) -> datetime:
        terms = self.definition.terms
        return Delay(self.input.job_name, terms.offset, terms.jitter).due_time(slot)


def attempt_line(number: int) -> str:
    """What the log says when a launch attempt begins."""
    return f"Starting, launch attempt {number}"


class BeginLaunches:
    def __init__(self, db: Database, dispatcher: Dispatcher) -> None:
        self._db = db
        self._dispatcher = dispatcher

    async def __call__(self, tasks: Sequence[TaskContext]) -> Sequence[LaunchAttempt | None]:
        """None: there is nothing to launch (any more), and the task is completed."""
        with use_traceparent(None):  # the callers share one transaction: it is part of nobody's trace
            return await self._begin(tasks)

    async def _begin(self, tasks: Sequence[TaskContext]) -> Sequence[LaunchAttempt | None]:
        async with self._db.transaction(few_rows=len(tasks) <= FEW_ROWS) as tx:
            wanted = {task.id: InvocationId(task.payload.invocation_id) for task in tasks}
            found = await load_invocations(tx, set(wanted.values()))
            inputs = await load_invocation_inputs(tx, found)
            batch = _Batch(inputs)
            edits = dict.fromkeys(found, batch.decide)
            changed = await edit_invocations(tx, self._dispatcher, edits, known=found)
            attempts = {row.id: batch.attempt(row) for row in changed.values() if row.id in batch.starting}
            results = [attempts.pop(wanted[task.id], None) for task in tasks]  # the first task of each
            skipped = [task for task, attempt in zip(tasks, results, strict=True) if attempt is None]
            await complete_many_in(tx, skipped)
        return results


class _Batch:
    """Decides for the invocations of one transaction and remembers which of them start."""

    def __init__(self, inputs: Mapping[InvocationId, InvocationInput]) -> None:
        self._inputs = inputs
        self._definitions: dict[InvocationId, JobDefinition] = {}
        self.starting: dict[InvocationId, tuple[StoredInvocation, StartLaunch]] = {}

    def decide(self, found: StoredInvocation) -> InvocationChange | None:
        self.starting.pop(found.id, None)
        if not is_initial(found.status):
            return None
        try:
            definition = self._definition_of(found.id)
        except (DecodeError, InvalidArgument) as error:
            reason = RunError(DEFINITION_INVALID, f"the stored definition can't be read: {error}")
            return self._end(found, InvocationStatus.FAILED, reason)
        match decide_launch(found.status, found.launch_attempts, found.started_at, definition.timeout, found.read_at):
            case SkipLaunch():
                return None
            case GiveUpLaunch() as give_up:
                return self._end(found, give_up.status, _error_of(give_up))
            case StartLaunch() as start:
                self.starting[found.id] = (found, start)
                return InvocationChange(
                    invocation=found,
                    to_status=found.status,
                    begins_attempt=True,
                    input=self._inputs[found.id],
                    log_lines=[LogLine(found.read_at, attempt_line(start.attempt))],
                )

    def attempt(self, row: ChangedInvocation) -> LaunchAttempt:
        found, start = self.starting[row.id]
        return LaunchAttempt(
            invocation=replace(
                found, version=row.version, launch_attempts=row.launch_attempts, started_at=row.started_at
            ),
            input=self._inputs[row.id],
            definition=self._definition_of(row.id),
            number=start.attempt,
            time_left=start.run_until - found.read_at,
        )

    def _definition_of(self, invocation_id: InvocationId) -> JobDefinition:
        if invocation_id not in self._definitions:
            self._definitions[invocation_id] = decode_definition(self._inputs[invocation_id].definition)
        return self._definitions[invocation_id]

    def _end(self, found: StoredInvocation, status: InvocationStatus, error: RunError) -> InvocationChange:
        return InvocationChange(
            invocation=found,
            to_status=status,
            error=error,
            input=self._inputs[found.id],
            log_lines=[LogLine(found.read_at, error.message)],
        )


def _error_of(give_up: GiveUpLaunch) -> RunError:
    return RunError(give_up.reason, give_up.message, retryable=give_up.status is InvocationStatus.TIMED_OUT)
