"""The way of simulated processes to a real database: one step at a time, in an order that follows from the seed.

Each process has a gate of its own, which can die: from then on none of its steps reaches the database, as if the
process had been killed between two of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from ostinato.storage.transaction import Connection
from ostinato.storage.translate import translated_errors
from ostinato.testing.faults import Fault, Faults
from ostinato.testing.lock_watcher import LockWatcher

# Each connection is told the time, because a row that says it would be locked by whoever moved it last.
CLOCK_SQL = """
create or replace function ostinato_now() returns timestamptz language sql volatile as
$$ select coalesce(nullif(current_setting('testing.now', true), '')::timestamptz, clock_timestamp()) $$
"""
# Virtual seconds that a transaction or a statement on its own may take to begin. Time stands still inside of them.
_LONGEST_WAIT = 0.002
_READS_TIME = ("ostinato_now", "tq_")
_ENDS_TRANSACTION = ("COMMIT", "ROLLBACK")
_IN_TRANSACTION = "BEGIN"
_OPENS_CONNECTION = "CONNECT"


@dataclass(slots=True, eq=False)
class _Step:
    process: SimulatedProcess
    text: str
    connection: Connection | None
    pid: int
    turn: asyncio.Future[None]
    fault: Fault | None
    begins: bool  # it stands alone, or begins a transaction
    number: int = 0  # in the order in which steps were let through

    @property
    def descriptor(self) -> int:
        """Where its answer arrives."""
        return -1 if self.connection is None else _descriptor_of(self.connection)


class StepOrder:
    """Lets the steps of all processes through, one at a time; `trace` is what happened in which order."""

    def __init__(self, seed: int, watcher: LockWatcher) -> None:
        self.trace: list[str] = []
        self.between_steps: Callable[[], None] = _nothing  # called when nothing is under way
        self._random = Random(seed)
        self._watcher = watcher
        self._waiting: list[_Step] = []
        self._under_way: _Step | None = None
        self._locked: list[_Step] = []
        self._locks_were_freed = False
        self._cut: set[int] = set()  # of connections that were hung up
        self._resuming: list[tuple[SimulatedProcess, Callable[[], None]]] = []

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

    def has_sent(self, process: SimulatedProcess) -> bool:
        """Whether any of its steps is under way, or waits for a lock."""
        return any(step.process is process for step in (self._under_way, *self._locked) if step is not None)

    def cut(self, pid: int) -> None:
        """A connection was hung up: nothing else happens before the server has rolled back what it left open."""
        self._cut.add(pid)
        self._locks_were_freed = True

    def resume(self, process: SimulatedProcess, release: Callable[[], None]) -> None:
        """What the process was about to send goes before everybody else's; `release` lets all the rest of it go on."""
        self._resuming.append((process, release))

    # -- what the event loop asks -------------------------------------------------------------------------------

    def is_under_way(self) -> bool:
        if self._under_way is None and self._locked and self._locks_were_freed:
            self._under_way = next((step for step in self._locked if not self._watcher.is_blocked(step.pid)), None)
            if self._under_way is None:
                self._locks_were_freed = False
            else:
                self._locked.remove(self._under_way)
        return self._under_way is not None

    def is_early(self, descriptor: int) -> bool:
        return any(step.descriptor == descriptor for step in self._locked)

    def look_for_locks(self) -> None:
        step = self._under_way
        if step is not None and step.pid and self._watcher.is_blocked(step.pid):
            self._under_way = None
            self._locked.append(step)
            self._locked.sort(key=lambda locked: locked.number)  # it may have been here before

    def let_one_through(self) -> float | None:
        if self._cut:
            self._watcher.wait_until_gone(self._cut)
            self._cut.clear()
            if self.is_under_way():
                return 0.0
        self.between_steps()
        if self._resuming:
            return self._resume_one()
        able = [step for step in self._waiting if not step.process.stalled]
        return self._let_through(able[self._random.randrange(len(able))]) if able else None

    def _resume_one(self) -> float:
        process, release = self._resuming.pop(0)
        process.stalled = process.frozen = False
        step = next((step for step in self._waiting if step.process is process), None)
        duration = self._let_through(step) if step is not None else 0.0
        release()
        return duration

    def _let_through(self, step: _Step) -> float:
        self._waiting.remove(step)
        self._under_way = step
        step.number = len(self.trace)
        self.trace.append(f"{step.turn.get_loop().time():.6f} {step.process.name} {_shortened(step.text)}")
        step.turn.set_result(None)
        return self._random.random() * _LONGEST_WAIT if step.begins else 0.0


class SimulatedProcess:
    """The gate of one process's life. After its death every step ends in CancelledError and reaches nothing."""

    def __init__(self, name: str, order: StepOrder, now: Callable[[], datetime]) -> None:
        self.name = name
        self.died = asyncio.Event()
        self.pids: set[int] = set()
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their creation
        self.commits = 0
        self.faults: Faults | None = None
        self.stalled = False  # none of its steps is let through
        self.frozen = False  # nothing of it runs
        self.held: list[asyncio.Handle] = []  # what it will do when it goes on
        self.on_stall: Callable[[], None] = _nothing  # a fault wants it to stall
        self.on_cancel: Callable[[], None] = _nothing  # a fault wants whoever asked for this step to give up
        self._quiet = asyncio.Event()
        self._order = order
        self._now = now
        self._steps: dict[asyncio.Task[Any], _Step] = {}
        self._in_transaction: set[int] = set()
        self._told: dict[int, datetime] = {}

    def die(self) -> None:
        self.died.set()

    async def stall(self) -> None:
        """Sends nothing from now on, and stands still as soon as nothing that it sent is under way."""
        self.stalled = True
        while self._order.has_sent(self):
            self._quiet.clear()
            await self._quiet.wait()
        self.frozen = True

    def take_held(self) -> list[asyncio.Handle]:
        """What is to be run now that it goes on."""
        held, self.held = self.held, []
        return held

    async def before(self, step: str, connection: Connection | None) -> None:
        self._check_alive()
        pid = connection.get_server_pid() if connection is not None else 0
        self.pids.add(pid)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begins = pid not in self._in_transaction
        fault = self._choose_fault(step, self._count_commit(step, pid))
        entry = _Step(self, step, connection, pid, turn, fault, begins)
        if fault is Fault.DEATH_BEFORE:
            self.die()
        if fault is Fault.STALL and not self.stalled:
            self.stalled = True
            self.on_stall()
        self._check_alive()
        await self._order.wait_for_turn(entry)
        self._steps[_current_task()] = entry
        try:
            self._check_alive()
            if fault is not None and fault.rolls_back and connection is not None:
                await self._roll_back(pid, connection)
            self._fail(entry, happened=False)
            await self._tell_time(step, pid, connection)
        except BaseException:
            self._end(entry)
            raise
        self._note_transaction(step, pid)

    def after(self, step: str) -> None:  # noqa: ARG002 - the task knows its step
        entry = self._steps[_current_task()]
        self._end(entry)
        if sys.exc_info()[0] is None:
            self._fail(entry, happened=True)

    def _end(self, entry: _Step) -> None:
        self._steps.pop(_current_task())
        self._order.end(entry)
        self._quiet.set()

    def _choose_fault(self, step: str, commit: int) -> Fault | None:
        fault = None if self.faults is None else self.faults.choose(step, commit)
        if fault is Fault.CUT_AFTER and step == _OPENS_CONNECTION:
            return Fault.CUT_BEFORE  # for the caller the same, and nobody is left with a connection to close
        return fault

    def _fail(self, entry: _Step, *, happened: bool) -> None:
        fault = entry.fault
        if fault is None or fault is Fault.STALL or fault.happens != happened:
            return
        if fault is Fault.CANCELLED:
            self.on_cancel()
            return
        if fault.kills:
            self.die()
            return  # the next step tells
        if fault.cuts and entry.connection is not None:
            entry.connection.terminate()
            self._in_transaction.discard(entry.pid)
            self._told.pop(entry.pid, None)
            self._order.cut(entry.pid)
        raise fault.error(entry.text)

    def _check_alive(self) -> None:
        if self.died.is_set():
            raise asyncio.CancelledError(f"{self.name} is dead")

    def _count_commit(self, step: str, pid: int) -> int:
        alone = pid not in self._in_transaction and step not in {_OPENS_CONNECTION, _IN_TRANSACTION, "ROLLBACK"}
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

    async def _roll_back(self, pid: int, connection: Connection) -> None:
        await _ask(connection, "ROLLBACK")
        self._in_transaction.discard(pid)
        self._told.pop(pid, None)

    async def _tell_time(self, step: str, pid: int, connection: Connection | None) -> None:
        now = self._now()
        if connection is None or self._told.get(pid) == now or not any(part in step for part in _READS_TIME):
            return
        await _ask(connection, f"set testing.now = '{now.isoformat()}'")
        self._told[pid] = now


async def _ask(connection: Connection, sql: str) -> None:
    """A statement of the simulation's own. The connection is not free before its answer."""
    asking = asyncio.ensure_future(connection.execute(sql))
    try:
        with translated_errors():
            await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking])
        raise


def _nothing() -> None:
    """Until somebody looks between the steps."""


def _descriptor_of(connection: Connection) -> int:
    transport: Any = connection._transport  # type: ignore[union-attr]  # noqa: SLF001 - not told otherwise
    return -1 if transport.is_closing() else int(transport.get_extra_info("socket").fileno())


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _shortened(step: str) -> str:
    return " ".join(step.split())[:80]
