"""The engines of a walk: they begin, drain, die and stand still. Who takes the walk says which and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

from ostinato.errors import OstinatoError
from ostinato.testing.simulation import Life, Simulation


@dataclass(slots=True, eq=False)
class Engine:
    life: Life
    burial: asyncio.Task[None]
    stall: asyncio.Task[None] | None = None
    drains: bool = False

    @property
    def is_gone(self) -> bool:
        task = self.life.task
        return self.life.process.died.is_set() or task is None or task.done()

    @property
    def is_stalled(self) -> bool:
        return self.stall is not None and not self.stall.done()

    @property
    def works(self) -> bool:
        return not (self.is_gone or self.is_stalled or self.drains)


class Fleet:
    """`problems`: what it met that must not happen. `absences`: from when to when nobody was there to work.

    Seconds for which a fault lets an engine stand still are not counted.
    """

    def __init__(self, simulation: Simulation, random: Random, start_one: Callable[[], Awaitable[None]]) -> None:
        """`start_one` is what calls `start`, with another engine of its kind."""
        self.engines: list[Engine] = []
        self.problems: list[str] = []
        self.absences: list[tuple[datetime, datetime]] = []
        self._simulation = simulation
        self._random = random
        self._start_one = start_one
        self._absent_since: datetime | None = None

    async def start(self, beginning: Awaitable[Life]) -> None:
        self._look_who_works()
        try:
            life = await beginning
        except Exception as error:  # noqa: BLE001 - judged
            self._judge(error, "did not start")
            return
        self.engines.append(Engine(life, asyncio.create_task(self._bury_when_dead(life))))
        self._look_who_works()

    def pick(self) -> Engine:
        return self._random.choice(self.engines)

    async def drain_one(self) -> None:
        """Never the last."""
        if len(self.engines) > 1:
            await self._drain(self.pick())

    async def kill_one(self) -> None:
        self.kill(self.pick())

    async def replace_the_dead(self) -> None:
        """And there is always one that lives."""
        await self.bury_the_dead()
        while not self.engines:
            await self._start_one()

    async def _drain(self, engine: Engine) -> None:
        if engine.stall is not None:
            await engine.stall
        engine.drains = True
        self._look_who_works()
        engine.life.request_end()
        assert engine.life.task is not None
        await asyncio.wait(
            [engine.life.task, asyncio.ensure_future(engine.life.process.died.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )

    def kill(self, engine: Engine) -> None:
        engine.life.process.die()

    def begin_stall(self, engine: Engine, seconds: float) -> None:
        if not engine.is_stalled:
            engine.stall = asyncio.create_task(self._simulation.stall(engine.life, seconds))
            engine.stall.add_done_callback(lambda _: self._look_who_works())
            self._look_who_works()

    async def await_stalls(self) -> None:
        await asyncio.gather(*(engine.stall for engine in self.engines if engine.stall is not None))

    async def bury_the_dead(self) -> None:
        for engine in [engine for engine in self.engines if engine.is_gone]:
            self.engines.remove(engine)
            task = engine.life.task
            if not engine.life.process.died.is_set() and task is not None and (error := task.exception()) is not None:
                self._judge(error, "ended by itself")
            engine.life.process.die()
            await engine.burial
        self._look_who_works()

    async def end(self) -> None:
        """Whoever is left dies."""
        for engine in self.engines:
            engine.life.process.die()
            await engine.burial

    async def _bury_when_dead(self, life: Life) -> None:
        """At once: a connection of the dead would hold its locks, and the walk might wait for one of them."""
        await life.process.died.wait()
        self._look_who_works()
        await self._simulation.bury(life)

    def _look_who_works(self) -> None:
        now = self._simulation.clock.now()
        if not any(engine.works for engine in self.engines):
            self._absent_since = self._absent_since or now
        elif self._absent_since is not None:
            self.absences.append((self._absent_since, now))
            self._absent_since = None

    def _judge(self, error: BaseException, what: str) -> None:
        """Whoever can't reach the database at its start may give up: somebody starts it again."""
        errors = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        if not all(isinstance(each, OstinatoError) for each in errors):
            self.problems.append(f"an engine {what}: {error!r} {errors!r}")
