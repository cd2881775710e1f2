"""The way of simulated processes to a real database: one step at a time, in an order that follows from the seed.

Each process has a gate of its own, which can die: from then on none of its steps reaches the database, as if the
process had been killed between two of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from ostinato.storage.transaction import Connection
from ostinato.testing.lock_watcher import LockWatcher

# Each connection is told the time, because a row that says it would be locked by whoever moved it last.
CLOCK_SQL = """
create or replace function ostinato_now() returns timestamptz language sql volatile as
$$ select coalesce(nullif(current_setting('testing.now', true), '')::timestamptz, clock_timestamp()) $$
"""
# Virtual seconds that a transaction or a statement on its own may take to begin. Time stands still inside of them.
_LONGEST_WAIT = 0.002
_READS_TIME = ("ostinato_now", "tq_claim", "tq_move_in")
_ENDS_TRANSACTION = ("COMMIT", "ROLLBACK")
_IN_TRANSACTION = "BEGIN"


@dataclass(slots=True, eq=False)
class _Step:
    process: SimulatedProcess
    text: str
    pid: int
    turn: asyncio.Future[None]
    commit: int  # which commit of its process it is; 0: none
    begins: bool  # it stands alone, or begins a transaction


class StepOrder:
    """Lets the steps of all processes through, one at a time; `trace` is what happened in which order."""

    def __init__(self, seed: int, watcher: LockWatcher) -> None:
        self.trace: list[str] = []
        self._random = Random(seed)
        self._watcher = watcher
        self._waiting: list[_Step] = []
        self._under_way: _Step | None = None
        self._locked: list[_Step] = []
        self._locks_were_freed = False

    async def wait_for_turn(self, step: _Step) -> None:
        self._waiting.append(step)
        try:
            await step.turn
        except asyncio.CancelledError:
            self.end(step)
            raise

    def end(self, step: _Step) -> None:
        if step is self._under_way:
            self._under_way = None
        for steps in (self._waiting, self._locked):
            if step in steps:
                steps.remove(step)
        self._locks_were_freed |= step.text in _ENDS_TRANSACTION or bool(self._locked)

    # -- what the event loop asks -------------------------------------------------------------------------------

    def is_under_way(self) -> bool:
        if self._under_way is None and self._locked and self._locks_were_freed:
            self._under_way = next((step for step in self._locked if not self._watcher.is_blocked(step.pid)), None)
            if self._under_way is None:
                self._locks_were_freed = False
            else:
                self._locked.remove(self._under_way)
        return self._under_way is not None

    def look_for_locks(self) -> None:
        step = self._under_way
        if step is not None and step.pid and self._watcher.is_blocked(step.pid):
            self._under_way = None
            self._locked.append(step)

    def let_one_through(self) -> float | None:
        if not self._waiting:
            return None
        step = self._waiting.pop(self._random.randrange(len(self._waiting)))
        self._under_way = step
        self.trace.append(f"{step.turn.get_loop().time():.6f} {step.process.name} {_shortened(step.text)}")
        step.turn.set_result(None)
        return self._random.random() * _LONGEST_WAIT if step.begins else 0.0


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """Dies at the `number`-th commit (a COMMIT, or a statement on its own): directly before it, or directly after."""

    number: int
    after: bool


class SimulatedProcess:
    """The gate of one process's life. After its death every step ends in CancelledError and reaches nothing."""

    def __init__(self, name: str, order: StepOrder, now: Callable[[], datetime]) -> None:
        self.name = name
        self.died = asyncio.Event()
        self.pids: set[int] = set()
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their creation
        self.commits = 0
        self.crash: CrashPlan | None = None
        self._order = order
        self._now = now
        self._steps: dict[asyncio.Task[Any], _Step] = {}
        self._in_transaction: set[int] = set()
        self._told: dict[int, datetime] = {}

    def die(self) -> None:
        self.died.set()

    async def before(self, step: str, connection: Connection | None) -> None:
        self._check_alive()
        pid = connection.get_server_pid() if connection is not None else 0
        self.pids.add(pid)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begins = pid not in self._in_transaction
        entry = _Step(self, step, pid, turn, commit=self._count_commit(step, pid), begins=begins)
        self._crash_if_planned(entry, after=False)
        self._check_alive()
        await self._order.wait_for_turn(entry)
        self._steps[_current_task()] = entry
        try:
            self._check_alive()
            await self._tell_time(step, pid, connection)
        except BaseException:
            self.after(step)
            raise
        self._note_transaction(step, pid)

    def after(self, step: str) -> None:  # noqa: ARG002 - the task knows its step
        entry = self._steps.pop(_current_task())
        self._order.end(entry)
        self._crash_if_planned(entry, after=True)

    def _crash_if_planned(self, entry: _Step, *, after: bool) -> None:
        if entry.commit and self.crash == CrashPlan(entry.commit, after=after):
            self.die()

    def _check_alive(self) -> None:
        if self.died.is_set():
            raise asyncio.CancelledError(f"{self.name} is dead")

    def _count_commit(self, step: str, pid: int) -> int:
        alone = pid not in self._in_transaction and step not in {"CONNECT", "BEGIN", "ROLLBACK"}
        if step != "COMMIT" and not alone:
            return 0
        self.commits += 1
        return self.commits

    def _note_transaction(self, step: str, pid: int) -> None:
        if step == _IN_TRANSACTION:
            self._in_transaction.add(pid)
        elif step in _ENDS_TRANSACTION:
            self._in_transaction.discard(pid)
        if step == "ROLLBACK":
            self._told.pop(pid, None)  # what was set in the transaction is undone with it

    async def _tell_time(self, step: str, pid: int, connection: Connection | None) -> None:
        now = self._now()
        if connection is None or self._told.get(pid) == now or not any(part in step for part in _READS_TIME):
            return
        await connection.execute(f"set testing.now = '{now.isoformat()}'")
        self._told[pid] = now


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _shortened(step: str) -> str:
    return " ".join(step.split())[:80]
