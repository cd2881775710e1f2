"""Claims from queues with limits: one queue per statement, under its lock, and no sooner than its rate allows.

Where a queue has a ceiling each process keeps its own absolute number in the database: with every claim, and soon after
a task of it ended. A dead process's number ends with its lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ostinato.clock import Clock
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.claim_lines import Window
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.strand import queue_of, strand_of

# Others hold all the room of a ceiling: they tell when there is some; without notifications we look this often.
_LOOK_AGAIN = 0.1
_AFTER_A_HINT = 0.005
TellOthers = Callable[[Iterable[int]], None]


class LimitedClaims:
    """`tell_others(strands)`: in these a ceiling has room again."""

    def __init__(self, db: Database, tasks: ClaimedTasks, clock: Clock, tell_others: TellOthers) -> None:
        self._db = db
        self._tasks = tasks
        self._clock = clock
        self._tell_others = tell_others
        self._not_before: dict[int, float] = {}  # monotonic, by queue
        self._reported: dict[int, int] = {}  # what the database says we hold, as far as we know
        self._doubts = 0  # answers that were lost: those claims may yet be carried out

    def hinted(self, strands: Iterable[int]) -> None:
        """Somebody left room, or added: look soon, but not with every one of a thousand hints."""
        if self._not_before:
            soon = self._clock.monotonic() + _AFTER_A_HINT
            for queue in {queue_of(strand) for strand in strands} & self._tasks.ceilings & self._not_before.keys():
                self._not_before[queue] = min(soon, self._not_before[queue])

    def may_claim(self, queue: int) -> bool:
        return self._clock.monotonic() >= self._not_before.get(queue, float("-inf"))

    @property
    def exhausted(self) -> frozenset[int]:
        """Queues of which a limit allowed less than this process had room for."""
        return frozenset(self._not_before)

    def wait(self) -> float:
        """Seconds until a claim may bring more than the last one, which was cut short by a limit; infinite: no such."""
        return min(self._not_before.values(), default=float("inf")) - self._clock.monotonic()

    async def claim(self, queue: int, windows: Sequence[Window], room: int, *, sent_at: float) -> tuple[list[Row], int]:
        """(rows, how many were allowed). To be called while `claiming` is held."""
        held = self._tasks.held(queue)
        before = self._reported.pop(queue, None)  # if the answer is lost, we report anew
        try:
            rows, granted, wait = await ready_store.claim_limited(
                self._db,
                self._tasks.lease.worker_id,
                queue,
                held=held,
                doubts=self._doubts,
                windows=windows,
                room=room,
            )
        except BaseException:
            self._doubts += 1
            raise
        self._reported[queue] = held + len(rows)
        if before is not None and held + len(rows) < before:
            self._tell_others([strand_of(queue)])
        if wait is not None:
            self._not_before[queue] = sent_at + wait
        elif granted < room:
            self._not_before[queue] = sent_at + _LOOK_AGAIN
        else:
            self._not_before.pop(queue, None)
        return rows, granted

    async def report(self) -> None:
        """Tells the database what we hold of queues with a ceiling, where it believes something else."""
        for queue in self._tasks.ceilings:
            if self._reported.get(queue) != self._tasks.held(queue):
                async with self._tasks.claiming:
                    await self.claim(queue, (), 0, sent_at=self._clock.monotonic())
