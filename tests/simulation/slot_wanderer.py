"""Who takes a walk through slots: hundreds of jobs over a night in which clocks change. Engines join, drain, die, stand
still and are all away for hours, with clocks that are wrong by seconds; people edit, remove, pause and resume jobs.

What people did, and when, is remembered, so that the verdict need not believe what the database says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from ostinato.taskqueue.embedded.pace import Pace
from ostinato.testing.faults import Fault, RandomFaults
from ostinato.testing.simulation import Simulation
from ostinato_engine.engine_host import EnginePace
from ostinato_engine.maintenance_loop import MaintenancePace
from tests.simulation.fleet import Fleet
from tests.simulation.outside import People
from tests.simulation.random_jobs import config_text
from tests.simulation.slot_jobs import NIGHTS, PLENTY, SlotJobs
from tests.simulation.slot_oracle import Stanza
from tests.simulation.world import Tempo, open_world

JOBS = 400
LENGTH = timedelta(hours=5)
MOST_ENGINES = 4
# Hours pass. Whoever dies is found out after minutes.
TEMPO = Tempo(
    EnginePace(
        look_every=timedelta(seconds=30),
        reconcile_every=timedelta(minutes=30),
        maintenance=MaintenancePace(purge_every=timedelta(minutes=20)),
    ),
    Pace(lease=300, beat_every=75, busy_poll=1, idle_poll=30, look_later_every=30, rescue_every=300),
)
_OF_ENGINES = (
    Fault.REFUSED, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AFTER, Fault.STALL, Fault.DEATH_BEFORE,
    Fault.DEATH_AFTER,
)  # fmt: skip
_OF_CALLERS = (Fault.REFUSED, Fault.CUT_BEFORE, Fault.CUT_AFTER)
_REST = 300.0  # seconds
_MOST_RESTS = 100  # longer than any slot waits
_ASKED = 40
# What an edit may change alone. A beginning and an end must fit together.
_PARTS = (
    ("blackouts",), ("offset",), ("start_after", "end_before"), ("catch_up",), ("schedule",), ("time_zone",)
)  # fmt: skip
_OUTCOMES = "select j.name, o.slot from occurrence o join job j using (job_id) order by 1, 2"

Action = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Done:
    """What somebody did between `began` and `ended`; from then on the job is as it says. No stanza: it is removed."""

    job: str
    began: datetime
    stanza: Stanza | None
    paused: bool
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`code`: what ExplainJob told first about that instant."""

    job: str
    at: datetime
    code: str


@dataclass(slots=True)
class SlotStory:
    """Of one walk, `begin` to `end`. `absences`: from when to when there was no engine that could work."""

    begin: datetime
    end: datetime
    done: list[Done] = field(default_factory=list)
    absences: list[tuple[datetime, datetime]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


class SlotWanderer:
    """`problems` is what it met that must not happen."""

    def __init__(self, simulation: Simulation, *, jobs: int = JOBS, length: timedelta = LENGTH) -> None:
        self._simulation = simulation
        self._clock = simulation.clock
        self._random = Random(f"slots {simulation.seed}")
        _, zones = night_of(simulation.seed)
        begin = start_of(simulation.seed, length)
        self.story = SlotStory(begin, begin + length)
        self._draw = SlotJobs(self._random, begin, zones, length)
        self._length = length
        self._names = [f"j{number}" for number in range(jobs)]
        self._stanzas: dict[str, Stanza] = {name: self._draw.stanza(name) for name in self._names}
        self._paused: set[str] = set()
        self._rate = self._random.choice((0.0, 0.0005, 0.002))
        self._faults: list[RandomFaults] = []
        self._fleet = Fleet(simulation, self._random, self._start_engine)
        self._actions: list[tuple[int, Action]] = [
            (6, self._edit),
            (3, self._pause),
            (3, self._resume),
            (3, self._start_engine),
            (2, self._fleet.kill_one),
            (2, self._fleet.drain_one),
            (2, self._stall_engine),
            (2, self._go_away),
        ]

    @property
    def problems(self) -> list[str]:
        return self._fleet.problems

    async def wander(self) -> None:
        async with open_world(self._simulation) as self._world:
            self._world.gate.faults = self._new_faults(_OF_CALLERS)
            self._people = People(self._world.db, self._world.stage.dispatcher, self._clock)
            try:
                await self._walk()
                await self._come_to_rest()
                await self._ask()
            finally:
                self.story.end = self._clock.now()
                self.story.absences = self._fleet.absences
                await self._fleet.end()

    async def _walk(self) -> None:
        await self._apply(self._names)
        await self._start_engine()
        weights, actions = zip(*self._actions, strict=True)
        while self._clock.now() < self.story.end and not self._stands_wrong:
            await self._let_pass(0, 1, 60, 120)
            (action,) = self._random.choices(actions, weights)
            await action()
            await self._fleet.replace_the_dead()

    async def _come_to_rest(self) -> None:
        for faults in self._faults:
            faults.active = False
        await self._fleet.await_stalls()
        policy = {"max_concurrent_invocations": PLENTY}
        last = {"schedule": "triggered", "noop": {}, "triggering_policy": policy}
        self._stanzas = {name: last | {"id": name} for name in self._names}
        await self._apply(self._names)
        for name in sorted(self._paused):
            self._paused.remove(name)
            with self._doing([name]):
                await self._people.resume(name)
        for _ in range(_MOST_RESTS):
            await self._fleet.replace_the_dead()
            await self._clock.sleep(_REST)
            if self._stands_wrong or not await self._world.left_over():
                return

    @property
    def _stands_wrong(self) -> bool:
        return bool(self._simulation.violations or self.problems)

    # -- people ---------------------------------------------------------------------------------------------------

    async def _edit(self) -> None:
        """Some jobs change, in one thing or altogether; some go, or come back."""
        names = self._random.sample(self._names, min(len(self._names), self._random.choice((1, 5, 30))))
        for name in names:
            if name in self._stanzas and self._random.random() < 0.1:
                del self._stanzas[name]
            elif name in self._stanzas and self._random.random() < 0.5:
                drawn = self._draw.stanza(name)
                part = self._random.choice(_PARTS)
                kept = {key: value for key, value in self._stanzas[name].items() if key not in part}
                self._stanzas[name] = kept | {key: drawn[key] for key in part if key in drawn}
            else:
                self._stanzas[name] = self._draw.stanza(name)
        await self._apply(names)

    async def _apply(self, names: list[str]) -> None:
        with self._doing(names):
            await self._people.apply(config_text(self._stanzas))

    async def _pause(self) -> None:
        for name in self._random.sample(self._names, self._random.choice((1, 10))):
            if name in self._stanzas and name not in self._paused:
                self._paused.add(name)
                with self._doing([name]):
                    await self._people.pause(name, abort_active=False)

    async def _resume(self) -> None:
        for name in sorted(self._paused):
            if name in self._stanzas and self._random.random() < 0.5:
                self._paused.remove(name)
                with self._doing([name]):
                    await self._people.resume(name)

    @contextmanager
    def _doing(self, names: list[str]) -> Iterator[None]:
        """What these jobs are now takes effect within the block."""
        now = self._clock.now()
        begun = [Done(name, now, self._stanzas.get(name), name in self._paused) for name in names]
        self.story.done += begun
        yield
        for done in begun:
            done.ended = self._clock.now()

    async def _ask(self) -> None:
        """Of some slots that have an outcome, and of some instants, whatever they are."""
        known = await self._world.db.fetch(_OUTCOMES)
        minutes = int((self._clock.now() - self.story.begin).total_seconds()) // 60
        asked = [(row["name"], row["slot"]) for row in self._random.sample(known, min(len(known), _ASKED))]
        for _ in range(_ASKED):
            at = self.story.begin + timedelta(minutes=self._random.randint(-10, minutes))
            asked.append((self._random.choice(self._names), at))
        for name, at in asked:
            self.story.answers.append(Answer(name, at, await self._people.explain(name, at)))

    # -- engines --------------------------------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        if len(self._fleet.engines) < MOST_ENGINES:
            skew = timedelta(seconds=self._random.uniform(-5, 5))
            faults = self._new_faults(_OF_ENGINES)
            await self._fleet.start(self._world.begin_engine(TEMPO, faults=faults, skew=skew))

    async def _stall_engine(self) -> None:
        self._fleet.begin_stall(self._fleet.pick(), self._random.choice((1.0, 20.0, 400.0)))

    async def _go_away(self) -> None:
        """All at once, for minutes or hours, in which people go on."""
        for engine in self._fleet.engines:
            self._fleet.kill(engine)
        await self._fleet.bury_the_dead()
        await self._let_pass(3, 50, 300)
        if self._random.random() < 0.5:
            await self._random.choice((self._edit, self._pause, self._resume))()
            await self._let_pass(3, 100)

    async def _let_pass(self, *thousandths: int) -> None:
        """One of these parts of the walk."""
        await self._clock.sleep(1 + self._length.total_seconds() * self._random.choice(thousandths) / 1000)

    def _new_faults(self, kinds: tuple[Fault, ...]) -> RandomFaults:
        number = len(self._faults)
        faults = RandomFaults(Random(f"slot faults {self._simulation.seed} {number}"), rate=self._rate, kinds=kinds)
        self._faults.append(faults)
        return faults


def night_of(seed: int) -> tuple[datetime, tuple[str, ...]]:
    """With the zones whose clocks change in it."""
    return NIGHTS[seed % len(NIGHTS)]


def start_of(seed: int, length: timedelta) -> datetime:
    """When the walk begins: some time before clocks change."""
    night, _ = night_of(seed)
    return night - length * 0.4
