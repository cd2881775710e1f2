"""Who takes a random walk: engines join, drain, die and stall past their leases with wrong clocks; steps to the
database fail, connections break, answers are lost; people emit, pause, resume, abort, retry and apply configs; work
reports late, twice or never. In the end the faults stop, schedules are switched off, and time passes until all rests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from random import Random
from typing import Any

from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.taskqueue.embedded.pace import Pace
from ostinato.testing.faults import Fault, RandomFaults
from ostinato.testing.simulation import Simulation
from ostinato_engine.engine_host import EnginePace
from tests.simulation.fleet import Fleet
from tests.simulation.outside import People, RemoteWork, ReportedEnd, post_reports
from tests.simulation.random_jobs import NAMES, TRIGGERED, config_text, random_job, random_stanzas, without_schedules
from tests.simulation.world import Tempo, open_world

ACTIONS = 30
MOST_ENGINES = 4
# Polls a little rarer than production's; leases as long.
TEMPO = Tempo(
    EnginePace(look_every=timedelta(seconds=1)),
    Pace(idle_poll=1.0, busy_poll=0.2, look_later_every=2.0, beat_every=1.5, rescue_every=10.0),
)
_OF_ENGINES = (
    Fault.REFUSED, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AFTER, Fault.STALL, Fault.DEATH_BEFORE,
    Fault.DEATH_AFTER,
)  # fmt: skip
_OF_CALLERS = (Fault.REFUSED, Fault.CUT_BEFORE, Fault.CUT_AFTER)
_REST = 20.0  # seconds
_MOST_RESTS = 90  # longer than a run takes whose launches fail, and its retries

Action = Callable[[], Coroutine[Any, Any, None]]


class Wanderer:
    """`problems` is what it met that must not happen."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._clock = simulation.clock
        self._random = Random(f"walk {simulation.seed}")
        self._stanzas = random_stanzas(self._random)
        self._rate = self._random.choice((0.0, 0.003, 0.008))
        self._faults: list[RandomFaults] = []
        self._fleet = Fleet(simulation, self._random, self._start_engine)
        self._work = RemoteWork(simulation.seed, simulation.clock)
        self._actions: list[tuple[int, Action]] = [
            (8, self._emit),
            (6, self._let_time_pass),
            (2, self._pause),
            (2, self._resume),
            (3, self._abort),
            (2, self._retry),
            (2, self._report),
            (2, self._edit),
            (2, self._start_engine),
            (1, self._fleet.drain_one),
            (1, self._fleet.kill_one),
            (2, self._stall_engine),
        ]

    @property
    def problems(self) -> list[str]:
        return self._fleet.problems

    @property
    def accepted(self) -> dict[tuple[str, str], int]:
        return dict(self._people.accepted)

    @property
    def reported(self) -> dict[int, ReportedEnd]:
        return dict(self._people.reported)

    async def wander(self) -> None:
        async with open_world(self._simulation) as self._world:
            self._world.gate.faults = self._new_faults(_OF_CALLERS)
            self._people = People(self._world.db, self._world.stage.dispatcher, self._clock)
            postman = asyncio.create_task(post_reports(self._work, self._people, self._clock))
            try:
                await self._walk()
                await self._come_to_rest()
            finally:
                postman.cancel()
                await asyncio.gather(postman, return_exceptions=True)
                await self._fleet.end()

    async def _walk(self) -> None:
        await self._people.apply(config_text(self._stanzas))
        for _ in range(self._random.randint(1, 2)):
            await self._start_engine()
        weights, actions = zip(*self._actions, strict=True)
        for _ in range(ACTIONS):
            (action,) = self._random.choices(actions, weights)
            await action()
            await self._fleet.replace_the_dead()
            if self._stands_wrong:
                return

    async def _come_to_rest(self) -> None:
        for faults in self._faults:
            faults.active = False
        await self._fleet.await_stalls()
        self._stanzas = {name: self._stanzas.get(name) or random_job(self._random, name) for name in NAMES}
        await self._people.apply(config_text(without_schedules(self._stanzas)))
        for name in NAMES:
            await self._people.resume(name)
        while len(self._fleet.engines) > 1:
            await self._fleet.drain_one()
            await self._fleet.replace_the_dead()
        for _ in range(_MOST_RESTS):
            await self._fleet.replace_the_dead()
            await self._clock.sleep(_REST)
            if self._stands_wrong or not await self._world.left_over():
                return

    @property
    def _stands_wrong(self) -> bool:
        return bool(self._simulation.violations or self.problems)

    # -- people ---------------------------------------------------------------------------------------------------

    async def _emit(self) -> None:
        """Some calls at once; some of the ids were used before."""
        job = self._random.choice(TRIGGERED)
        calls = [
            [f"t{self._random.randrange(60)}" for _ in range(self._random.randint(1, 4))]
            for _ in range(self._random.randint(1, 4))
        ]
        await asyncio.gather(*(self._people.emit(job, list(dict.fromkeys(ids))) for ids in calls))

    async def _let_time_pass(self) -> None:
        await self._clock.sleep(self._random.choice((0.01, 0.5, 3.0, 9.0)))

    async def _pause(self) -> None:
        await self._people.pause(self._random.choice(NAMES), abort_active=self._random.random() < 0.3)

    async def _resume(self) -> None:
        for name in self._random.sample(NAMES, 3):
            await self._people.resume(name)

    async def _abort(self) -> None:
        """One run; or all, by two people at once, while their work reports that they succeeded."""
        names = await self._people.find_runs("invocation")
        if names and self._random.random() < 0.4:
            await self._people.abort(self._random.choice(names))
            return
        reporting = [run for run in self._work.runs.values() if run.name in names]
        await asyncio.gather(
            *(self._people.notify(run, NotifyRequest.SUCCEEDED, "at.once") for run in reporting),
            *(self._people.abort(name) for name in [*names, *names]),
        )

    async def _retry(self) -> None:
        if names := await self._people.find_runs("invocation_history"):
            await self._people.retry(self._random.choice(names))

    async def _report(self) -> None:
        """Late, or a second time: the run may have ended long ago."""
        if self._work.runs:
            run = self._work.runs[self._random.choice(sorted(self._work.runs))]
            status = self._random.choice((NotifyRequest.SUCCEEDED, NotifyRequest.FAILED))
            await asyncio.gather(*(self._people.notify(run, status, f"late.{number}") for number in range(2)))

    async def _edit(self) -> None:
        """A job changes, goes or comes back."""
        name = self._random.choice(NAMES)
        if name in self._stanzas and self._random.random() < 0.3:
            del self._stanzas[name]
        else:
            self._stanzas[name] = random_job(self._random, name)
        await self._people.apply(config_text(self._stanzas))

    # -- engines --------------------------------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        if len(self._fleet.engines) < MOST_ENGINES:
            skew = timedelta(seconds=self._random.choice((0, 0, -90, 600)))
            faults = self._new_faults(_OF_ENGINES)
            await self._fleet.start(self._world.begin_engine(TEMPO, faults=faults, skew=skew, http=self._work))

    async def _stall_engine(self) -> None:
        engine = self._fleet.pick()
        if not engine.is_stalled:
            self._fleet.begin_stall(engine, self._random.choice((1.0, 7.0, 15.0)))

    def _new_faults(self, kinds: tuple[Fault, ...]) -> RandomFaults:
        number = len(self._faults)
        faults = RandomFaults(Random(f"faults {self._simulation.seed} {number}"), rate=self._rate, kinds=kinds)
        self._faults.append(faults)
        return faults
