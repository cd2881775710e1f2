"""Hands reminders over to a remote queue and notes what it answered, whoever wrote them.

A reminder is deleted only after an answer that says the queue has its task. Everything else keeps it: at the worst a
request is made again, and the task's name in it sees to it that the task is added once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.parallel_calls import for_each
from ostinato.taskqueue.reminders import reminder_store
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import UNKNOWN, decode_reminder
from ostinato.taskqueue.reminders.reminder_stats import ClassPath, Path, ReminderStats, SubmitKey
from ostinato.taskqueue.reminders.reminder_store import RefusedReminder
from ostinato.taskqueue.reminders.submitting_port import ReminderSubmitter, SubmitResult, SubmitVerdict

_log = logging.getLogger(__name__)
_UNREADABLE = SubmitResult(SubmitVerdict.REFUSED, "INVALID_ARGUMENT", "the reminder can't be read, or has no request")
REQUESTS_PER_BATCH = 16  # at once


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and its answer, still to be saved. `created` is None if it can't be read."""

    id: UUID
    task_class: str
    queue: str
    created: datetime | None
    path: Path
    result: SubmitResult


@dataclass(frozen=True, slots=True)
class BatchResult:
    """`failed`: kept, refused, or of unknown outcome."""

    done: int
    failed: int


class Submissions:
    """Of one process; for any number of tasks at once."""

    def __init__(
        self,
        db: Database,
        submitter: ReminderSubmitter,
        clock: Clock,
        *,
        policy: RefusalPolicy | None = None,
        stats: ReminderStats | None = None,
    ) -> None:
        self.stats = stats or ReminderStats()
        self._db = db
        self._submitter = submitter
        self._clock = clock
        self._policy = policy or RefusalPolicy()

    async def submit(self, reminder_id: UUID, payload: bytes, path: Path) -> Attempt:
        """Makes the request; what was answered is not saved yet."""
        reminder = decode_reminder(payload)
        if reminder is None:
            _log.error("reminder %s can't be read", reminder_id.hex)
            return Attempt(reminder_id, UNKNOWN, "", None, path, _UNREADABLE)
        began = self._clock.monotonic()
        result = await self._request(reminder.create_task_request)
        key = SubmitKey(reminder.task_class, reminder.queue, path, result.code)
        self.stats.submits[key].add(self._clock.monotonic() - began)
        created = reminder.created.ToDatetime(tzinfo=UTC) if reminder.HasField("created") else None
        return Attempt(reminder_id, reminder.task_class, reminder.queue, created, path, result)

    async def save(self, attempts: Sequence[Attempt]) -> int:
        """Deletes what was handed over, and notes what was refused; returns how many were handed over.

        Raises errors of the database: then the reminders stay, and are submitted again.
        """
        done = [attempt for attempt in attempts if attempt.result.verdict is SubmitVerdict.DONE]
        refused = [attempt for attempt in attempts if attempt.result.verdict is SubmitVerdict.REFUSED]
        deleted = await reminder_store.delete_reminders(self._db, [attempt.id for attempt in done])
        for attempt in done:
            if attempt.id in deleted:
                self._count_processed(attempt)
        await self._save_refusals(refused)
        return len(done)

    async def submit_batch(self, ids: Sequence[UUID]) -> BatchResult:
        """What a sweep does with reminders it found. Never raises but when it is cancelled; failures are logged."""
        try:
            payloads = await reminder_store.load_payloads(self._db, ids)
        except OstinatoError as error:
            _log.warning("%d reminders were not loaded, the next sweep will try: %s", len(ids), error)
            return BatchResult(done=0, failed=len(ids))
        if missing := len(ids) - len(payloads):
            self.stats.missing += missing
            _log.info("%d of %d reminders were gone before they were submitted", missing, len(ids))
        attempts: list[Attempt] = []

        async def submit(reminder_id: UUID) -> None:
            attempts.append(await self.submit(reminder_id, payloads.pop(reminder_id), Path.SWEEP))

        asked = [reminder_id for reminder_id in ids if reminder_id in payloads]
        await for_each(asked, submit, most=REQUESTS_PER_BATCH)
        done = await self._saved(attempts)
        return BatchResult(done=done, failed=len(asked) - done)

    async def _saved(self, attempts: Sequence[Attempt]) -> int:
        try:
            return await self.save(attempts)
        except OstinatoError as error:
            self.stats.save_failures += 1
            _log.warning(
                "answers for %d reminders were not saved, they will be submitted again: %s", len(attempts), error
            )
            return 0

    async def _request(self, request: bytes) -> SubmitResult:
        try:
            return await self._submitter.submit(request)
        except Exception as error:  # noqa: BLE001 - a bug of the submitter's must not stop a sweep
            _log.exception("a submitter raised, which it must not")
            return SubmitResult(SubmitVerdict.KEEP, "UNKNOWN", str(error) or type(error).__name__)

    async def _save_refusals(self, refused: Sequence[Attempt]) -> None:
        notes = [RefusedReminder(a.id, a.task_class, a.queue, _text(a.result)) for a in refused]
        parked = await reminder_store.note_refusals(self._db, notes, self._policy)
        for note in notes:
            self.stats.refused[note.task_class] += 1
            if note.id in parked:
                self.stats.parked[note.task_class] += 1
                _log.error("task %s (%s) is parked: %s", note.id.hex, note.task_class, note.error)
            else:
                _log.warning("task %s (%s) was refused: %s", note.id.hex, note.task_class, note.error)

    def _count_processed(self, attempt: Attempt) -> None:
        age = 0.0 if attempt.created is None else (self._clock.now() - attempt.created).total_seconds()
        self.stats.processed[ClassPath(attempt.task_class, attempt.path)].add(age)


def _text(result: SubmitResult) -> str:
    return f"{result.code}: {result.error}" if result.error else result.code
