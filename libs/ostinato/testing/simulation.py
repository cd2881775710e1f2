"""Whole processes on a real database in virtual time, with everything in an order that follows from a seed.

    with open_simulation(url, seed=7, start=monday) as simulation:
        simulation.run(story(simulation))

`story` starts processes (`simulation.begin`), lets time pass by `simulation.clock.sleep`, kills some, and looks.
Two runs of one seed, on two clones of one database, give the same `simulation.trace`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import Context, ContextVar
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, TypeAlias, TypeVar

import asyncpg

from ostinato.jobstore.schema import PARTITIONED_TABLES
from ostinato.storage.partitions import ensure_partitions
from ostinato.testing.faults import Faults
from ostinato.testing.lock_watcher import LockWatcher
from ostinato.testing.simulated_database import CLOCK_SQL, SimulatedProcess, StepOrder
from ostinato.testing.virtual_time import VirtualClock, VirtualTimeLoop

T = TypeVar("T")
Check: TypeAlias = "Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[list[str]]]"

# Seconds that a fault stalls a process: longer than the leases of workers.
STALL = 9.0
_MOST_ROUNDS = 100
_CURRENT: ContextVar[SimulatedProcess | None] = ContextVar("simulated_process", default=None)


class Life:
    """A process that runs until it is ended gently, or dies."""

    def __init__(self, process: SimulatedProcess) -> None:
        self.process = process
        self.began = asyncio.Event()
        self._ending = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def live(self, open_service: AbstractAsyncContextManager[object]) -> None:
        async with open_service:
            self.began.set()
            await self._ending.wait()

    def request_end(self) -> None:
        """As by SIGTERM: it begins to drain."""
        self._ending.set()

    async def end(self) -> None:
        """Drains it and waits for that."""
        assert self.task is not None
        self.request_end()
        await self.task


class Simulation:
    """Build it with `open_simulation`."""

    def __init__(self, url: str, seed: int, start: datetime, watcher: LockWatcher, *, keeps_order: bool) -> None:
        self.url = url
        self.seed = seed
        self.clock = VirtualClock(start)
        self.violations: list[str] = []  # what `check_between_steps` found
        self._watcher = watcher
        self._keeps_order = keeps_order
        self._order = StepOrder(seed, watcher)
        self._processes = 0
        self._checked_until = 0

    @property
    def trace(self) -> list[str]:
        """Every step that reached the database, with its virtual time and process."""
        return self._order.trace

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=self._make_loop) as runner:
            return runner.run(story)

    def new_process(self, name: str) -> SimulatedProcess:
        process = SimulatedProcess(name, self._order, self.clock.now)
        process.on_stall = partial(self._stall_by_fault, process)
        return process

    def check_between_steps(self, check: Check, *, every: int) -> None:
        """Asks `check` beside the simulation, after every so many steps, until it finds something."""
        self._order.between_steps = partial(self._check, check, every)

    def _check(self, check: Check, every: int) -> None:
        if not self.violations and len(self.trace) >= self._checked_until + every:
            self._checked_until = len(self.trace)
            self.violations += self._watcher.ask(partial(_check_at, check, self.clock.now()))

    async def begin(
        self,
        name: str,
        open_service: Callable[[SimulatedProcess, Random], AbstractAsyncContextManager[object]],
        *,
        faults: Faults | None = None,
    ) -> Life:
        """Starts a process and returns once it serves, or has died. It gets a gate and randomness of its own."""
        self._processes += 1
        process = self.new_process(f"{name}-{self._processes}")
        process.faults = faults
        life = Life(process)
        token = _CURRENT.set(process)
        try:
            service = open_service(process, Random(f"{self.seed}/{process.name}"))
            life.task = asyncio.create_task(life.live(service))
        finally:
            _CURRENT.reset(token)
        waiters = [asyncio.ensure_future(life.began.wait()), asyncio.ensure_future(process.died.wait())]
        await asyncio.wait([life.task, *waiters], return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()
        if life.task.done() and not process.died.is_set():
            await life.task
        return life

    async def stall(self, life: Life, seconds: float) -> None:
        """Nothing of the process moves for that long, as by SIGSTOP and SIGCONT; its connections stay open."""
        await self._stall(life.process, seconds)

    async def _stall(self, process: SimulatedProcess, seconds: float) -> None:
        await process.stall()
        await self.clock.sleep(seconds)
        self._order.resume(process, partial(self._release, process))

    def _stall_by_fault(self, process: SimulatedProcess) -> None:
        # Not as a part of the process: that stands still.
        Context().run(asyncio.create_task, self._stall(process, STALL))

    def _release(self, process: SimulatedProcess) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        for handle in process.take_held():
            loop.run_held(handle)

    async def bury(self, life: Life) -> None:
        """Kills the process if it lives, and waits until the server has rolled back what it left open."""
        life.process.die()
        self._watcher.end_blocked(life.process.pids)
        self._release(life.process)
        for _ in range(_MOST_ROUNDS):
            left = [task for task in life.process.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1)
        else:
            raise AssertionError(f"{life.process.name} can't be killed: {left}")
        self._watcher.wait_until_gone(life.process.pids)

    def _make_loop(self) -> VirtualTimeLoop:
        loop = VirtualTimeLoop(self._order, _held, _stands_still, keeps_order=self._keeps_order)
        loop.set_task_factory(_make_task)  # type: ignore[arg-type]
        return loop


def _held(handle: asyncio.Handle, context: Context) -> bool:
    process = _frozen(context)
    if process is None:
        return False
    process.held.append(handle)
    return True


def _stands_still(context: Context) -> bool:
    return _frozen(context) is not None


def _frozen(context: Context) -> SimulatedProcess | None:
    process = context.get(_CURRENT)
    return process if process is not None and process.frozen and not process.died.is_set() else None


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
    """Remembers which process a task belongs to: it dies with it."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    process = _CURRENT.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))
    return task


@contextmanager
def open_simulation(url: str, *, seed: int, start: datetime, keeps_order: bool = False) -> Iterator[Simulation]:
    """`url` is a migrated database of its own: its clock is replaced, its partitions are made around `start`.

    `keeps_order`: where many wait for the same moment, they go on in the order in which they began to wait.
    """
    asyncio.run(_prepare(url, start))
    watcher = LockWatcher(url)
    try:
        yield Simulation(url, seed, start, watcher, keeps_order=keeps_order)
    finally:
        watcher.close()


async def _check_at(check: Check, now: datetime, connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    await connection.execute(f"set testing.now = '{now.isoformat()}'")
    return await check(connection)


async def _prepare(url: str, start: datetime) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(CLOCK_SQL)
        await ensure_partitions(connection, PARTITIONED_TABLES, around=start)
    finally:
        await connection.close()
