"""A remote queue that fails in every way, sweepers on it, and reminders to be submitted to it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from ostinato.clock import Clock, SystemClock
from ostinato.errors import Ignore, Unavailable
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.storage.database import Database
from ostinato.taskqueue.parallel_calls import for_each
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import NewReminder, encode_reminder, new_reminder_id
from ostinato.taskqueue.reminders.reminder_store import insert_reminders
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.reminders.submitting_port import SubmitResult, SubmitVerdict
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.in_process_sweeper import BatchSizes, InProcessSweeper
from ostinato.taskqueue.sweeping.lessor import DatabaseLessor
from ostinato.taskqueue.sweeping.sweep_options import LESSOR, SweepOptions

OK = SubmitResult(SubmitVerdict.DONE, "OK")
EXISTS = SubmitResult(SubmitVerdict.DONE, "ALREADY_EXISTS")
UNAVAILABLE = SubmitResult(SubmitVerdict.KEEP, "UNAVAILABLE", "out of reach")
DENIED = SubmitResult(SubmitVerdict.REFUSED, "PERMISSION_DENIED", "not for you")
MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)
STALE = timedelta()  # nothing is left of the caller's time: sweeps take it at once


@dataclass
class FakeQueue:
    """Has each task once, whatever is asked. `answer` may refuse (no effect); `unheard` is told after the effect."""

    answer: Callable[[bytes], SubmitResult | None] = lambda _: None
    unheard: Callable[[bytes], SubmitResult | None] = lambda _: None
    tasks: set[bytes] = field(default_factory=set)
    requests: Counter[bytes] = field(default_factory=Counter)
    running: int = 0
    most_running: int = 0
    gate: asyncio.Event | None = None  # answers come when it is set

    @property
    def duplicates(self) -> int:
        return sum(count - 1 for count in self.requests.values())

    async def submit(self, request: bytes) -> SubmitResult:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
            return self._result(request)
        finally:
            self.running -= 1

    def _result(self, request: bytes) -> SubmitResult:
        self.requests[request] += 1
        if (refusal := self.answer(request)) is not None:
            return refusal
        existed = request in self.tasks
        self.tasks.add(request)
        return self.unheard(request) or (EXISTS if existed else OK)


@dataclass
class SweepTasks:
    """The queue of sweep tasks, in memory. `broken`: takes none."""

    waiting: deque[SweepTask] = field(default_factory=deque)
    added: list[SweepTask] = field(default_factory=list)
    broken: bool = False

    async def add(self, tasks: Sequence[SweepTask]) -> None:
        if self.broken:
            raise Unavailable("the queue of sweep tasks is out of reach")
        self.waiting += tasks
        self.added += tasks


class WholeDistributedSweep:
    """A distributed sweep, begun and handled to its end here."""

    def __init__(self, db: Database, submissions: Submissions, options: SweepOptions, clock: Clock) -> None:
        self.tasks = SweepTasks()
        self.lessor = DatabaseLessor(db, clock)
        self.sweeper = DistributedSweeper(
            db, submissions, self.tasks, clock, lessors={LESSOR: self.lessor}, options=options
        )
        self.stats = self.sweeper.stats
        self.failed = 0

    async def sweep(self) -> None:
        await self.sweeper.sweep()
        while self.tasks.waiting:
            tasks = [self.tasks.waiting.popleft() for _ in range(len(self.tasks.waiting))]
            await for_each(tasks, self._handle, most=4)

    async def _handle(self, task: SweepTask) -> None:
        try:
            await self.sweeper.handle(task)
        except Ignore:
            self.failed += 1


AnySweeper = WholeDistributedSweep | InProcessSweeper
KINDS = ("distributed", "in process")


def sweeper_of(
    kind: str,
    db: Database,
    queue: FakeQueue,
    *,
    options: SweepOptions | None = None,
    policy: RefusalPolicy | None = None,
    clock: Clock | None = None,
    submissions: Submissions | None = None,
) -> AnySweeper:
    clock = clock or SystemClock()
    submissions = submissions or Submissions(db, queue, clock, policy=policy)
    if kind == "distributed":
        return WholeDistributedSweep(db, submissions, options or SweepOptions(), clock)
    return InProcessSweeper(
        db, submissions, clock, options=options, sizes=BatchSizes(batch=64, at_once=4), random=Random(1)
    )


def reminder(*, time_left: timedelta | None = STALE, reminder_id: UUID | None = None, size: int = 0) -> NewReminder:
    """Its request is its id, padded."""
    chosen = reminder_id or new_reminder_id()
    payload = encode_reminder(task_class="letter", queue="mail", created=MADE_AT, request=request_of(chosen, size))
    return NewReminder(chosen, payload, time_left)


def request_of(reminder_id: UUID, size: int = 0) -> bytes:
    return reminder_id.hex.encode().ljust(size, b".")


async def write(db: Database, reminders: Sequence[NewReminder]) -> None:
    async with db.transaction() as tx:
        await insert_reminders(tx, reminders)


async def write_stale(db: Database, count: int) -> set[bytes]:
    """The requests of `count` reminders that were left behind."""
    reminders = [reminder() for _ in range(count)]
    await write(db, reminders)
    return {request_of(made.id) for made in reminders}


async def remaining(db: Database) -> int:
    count: int = await db.fetchval("select count(*) from tq_reminder")
    return count


async def let_retries_come_due(db: Database) -> None:
    """As if the spacing after a refusal had passed."""
    await db.execute("update tq_reminder set next_try_at = '-infinity'")
