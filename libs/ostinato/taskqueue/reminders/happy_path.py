"""After a commit: its reminders are submitted at once, in the background, so that sweeps find next to nothing.

Nobody waits for it, and nothing depends on it. What it does not manage while the reminders are fresh (too many at
once, a queue that does not answer, a process that ends) is left to the sweepers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.reminders.reminder import UNKNOWN, NewReminder, decode_reminder
from ostinato.taskqueue.reminders.reminder_stats import Path
from ostinato.taskqueue.reminders.reminder_store import insert_reminders
from ostinato.taskqueue.reminders.submissions import Attempt, Submissions

_log = logging.getLogger(__name__)
_MOST_SAVED = 500  # in one statement


@dataclass(frozen=True, slots=True)
class HappyPathSettings:
    """`parallel` requests at once; what comes when `most_waiting` or so many bytes wait is left to the sweepers."""

    parallel: int = 64
    most_waiting: int = 10_000
    most_waiting_bytes: int = 64 << 20
    drain_seconds: float = 5.0  # at the end, for what is under way


@dataclass(frozen=True, slots=True)
class _Waiting:
    reminder: NewReminder
    task_class: str
    until: float  # fresh, on the monotonic clock


class HappyPath:
    """Build it with `open_happy_path`."""

    def __init__(self, submissions: Submissions, clock: Clock, settings: HappyPathSettings) -> None:
        self._submissions = submissions
        self._stats = submissions.stats
        self._clock = clock
        self._settings = settings
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._answered: list[Attempt] = []
        self._submitting = 0
        self._saving = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()  # keeps them alive

    async def remind(self, tx: Tx, reminders: Sequence[NewReminder]) -> None:
        """Inserts them with `tx`; once it is committed they are submitted."""
        since = self._clock.monotonic()
        await insert_reminders(tx, reminders)
        tx.after_commit(lambda: self.after_commit(reminders, since=since))

    def after_commit(self, reminders: Sequence[NewReminder], *, since: float | None = None) -> None:
        """Submits them in the background. `since`: when they were about to be inserted, on the monotonic clock.

        The database's clock was read later than that, so nothing is taken for fresh that a sweep may take.
        """
        now = self._clock.monotonic()
        for reminder in reminders:
            until = (now if since is None else since) + reminder.fresh_for.total_seconds()
            self._take(_Waiting(reminder, _class_of(reminder), until), now)
        for _ in range(min(self._settings.parallel - self._submitting, len(self._waiting))):
            self._submitting += 1
            self._start(self._submit_waiting())

    async def drain(self) -> None:
        """Ends what is under way, as far as time allows; the rest, and what comes later, is left to the sweepers."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                while self._tasks:
                    await asyncio.wait(set(self._tasks))
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks))
        self._stats.left_behind.update(waiting.task_class for waiting in self._waiting)
        self._waiting.clear()

    def _take(self, waiting: _Waiting, now: float) -> None:
        if now > waiting.until:
            self._stats.stale[waiting.task_class] += 1
            return
        self._stats.fresh[waiting.task_class] += 1
        size = len(waiting.reminder.payload)
        if self._closed or not self._has_room(size):
            self._stats.left_behind[waiting.task_class] += 1
            return
        self._waiting_bytes += size
        self._waiting.append(waiting)

    def _has_room(self, size: int) -> bool:
        settings = self._settings
        return len(self._waiting) < settings.most_waiting and self._waiting_bytes + size <= settings.most_waiting_bytes

    async def _submit_waiting(self) -> None:
        try:
            while self._waiting:
                waiting = self._waiting.popleft()
                self._waiting_bytes -= len(waiting.reminder.payload)
                await self._submit(waiting)
        finally:
            self._submitting -= 1

    async def _submit(self, waiting: _Waiting) -> None:
        if self._clock.monotonic() > waiting.until:
            self._stats.left_behind[waiting.task_class] += 1
            return
        reminder = waiting.reminder
        attempt = await self._submissions.submit(reminder.id, reminder.payload, Path.HAPPY)
        self._answered.append(attempt)  # the list of this moment: during the request it may have been replaced
        if not self._saving:
            self._saving = True
            self._start(self._save_answered())

    async def _save_answered(self) -> None:
        """While one group is saved the next one gathers."""
        try:
            while self._answered:
                group, self._answered = self._answered[:_MOST_SAVED], self._answered[_MOST_SAVED:]
                await self._save(group)
        finally:
            self._saving = False

    async def _save(self, group: Sequence[Attempt]) -> None:
        try:
            await self._submissions.save(group)
        except OstinatoError as error:
            self._stats.save_failures += 1
            _log.warning("answers for %d reminders were not saved, a sweep will ask again: %s", len(group), error)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _class_of(reminder: NewReminder) -> str:
    decoded = decode_reminder(reminder.payload)
    return UNKNOWN if decoded is None else decoded.task_class


@asynccontextmanager
async def open_happy_path(
    submissions: Submissions, clock: Clock, settings: HappyPathSettings | None = None
) -> AsyncIterator[HappyPath]:
    """Drained at the end of the block."""
    happy_path = HappyPath(submissions, clock, settings or HappyPathSettings())
    try:
        yield happy_path
    finally:
        await happy_path.drain()
