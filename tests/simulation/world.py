"""A small deployment in virtual time: a project, engines that begin and die, and eyes on what they leave behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from ostinato.config import EngineSettings
from ostinato.config.authentication import AuthMode, AuthSettings
from ostinato.config.database import DatabaseSettings
from ostinato.config.services import LogLevel
from ostinato.config.tracing import TracingSettings
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.targets import HttpSpec
from ostinato.storage.database import Database, open_database
from ostinato.storage.transaction import Row
from ostinato.taskqueue import WorkerSettings, open_dispatcher
from ostinato.taskqueue.embedded.pace import Pace
from ostinato.testing.faults import Faults
from ostinato.testing.postgres import fresh_database
from ostinato.testing.simulated_database import SimulatedProcess
from ostinato.testing.simulation import Life, Simulation, open_simulation
from ostinato.testing.virtual_time import SkewedClock
from ostinato_engine.engine_host import EngineHost, EnginePace
from ostinato_engine.main import open_engine
from ostinato_engine.maintenance_loop import MaintenancePace
from ostinato_engine.targets.target import Target
from tests.integration.engine.stage import Stage

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tempo:
    """How often an engine looks at what nobody told it of. What is added in a process wakes that process at once."""

    loops: EnginePace
    queue: Pace


# As in production, save that polling alone is a little rarer.
LIVELY = Tempo(EnginePace(look_every=timedelta(seconds=2)), Pace(idle_poll=1.0, busy_poll=0.1))
# Minutes pass.
CALM = Tempo(
    EnginePace(look_every=timedelta(seconds=5)),
    Pace(lease=60, beat_every=15, busy_poll=0.1, idle_poll=2, look_later_every=5, rescue_every=60),
)
# Days pass.
SLOW = Tempo(
    EnginePace(
        look_every=timedelta(minutes=10),
        reconcile_every=timedelta(hours=1),
        maintenance=MaintenancePace(purge_every=timedelta(hours=1)),
    ),
    Pace(lease=7200, beat_every=1800, busy_poll=60, idle_poll=600, look_later_every=600, rescue_every=3600),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that triage has acknowledged."""

    invocation_id: int
    job_id: int
    status: InvocationStatus
    launch_attempts: int
    created_at: datetime
    started_at: datetime
    finished_at: datetime
    scheduled_for: datetime | None
    trigger_ids: tuple[str, ...]


class World:
    """Inside a simulation: `stage` is an outside caller with a connection of its own."""

    def __init__(self, simulation: Simulation, gate: SimulatedProcess, db: Database, stage: Stage) -> None:
        self.simulation = simulation
        self.gate = gate
        self.clock = simulation.clock
        self.db = db
        self.stage = stage

    async def begin_engine(
        self,
        tempo: Tempo,
        *,
        faults: Faults | None = None,
        skew: timedelta = timedelta(0),
        http: Target[HttpSpec] | None = None,
    ) -> Life:
        """`skew`: how wrong its clock is. `http`: what it calls instead of URLs."""
        return await self.simulation.begin(
            "engine", lambda gate, random: self._open_engine(gate, random, tempo, skew, http), faults=faults
        )

    async def sleep(self, **duration: float) -> None:
        await self.clock.sleep(timedelta(**duration).total_seconds())

    async def runs(self, job_id: int) -> list[Run]:
        """Oldest first."""
        rows = await self.db.fetch(
            "select h.*, n.incoming from invocation_history h join invocation_input n using (invocation_id) "
            "where job_id = $1 order by created_at, invocation_id desc",
            job_id,
        )
        return [_run_of(row) for row in rows]

    async def left_over(self) -> Counter[str]:
        """What should not be there once everything has come to rest."""
        counts = await self.db.fetchrow(
            """
            select (select count(*) from invocation) as "active invocations",
                   (select count(*) from tq_ready) as "ready tasks",
                   (select count(*) from tq_later) as "later tasks",
                   (select count(*) from tq_dead) as "dead letters",
                   (select count(*) from trigger where consumed_at is null) as "pending triggers"
            """
        )
        assert counts is not None
        return +Counter(dict(counts))

    def _open_engine(
        self, gate: SimulatedProcess, random: Random, tempo: Tempo, skew: timedelta, http: Target[HttpSpec] | None
    ) -> Any:
        settings = EngineSettings(
            database=database_settings(self.simulation.url, gate.name),
            auth=AuthSettings(AuthMode.DEV, admins=(), secret=bytes(32)),
            grpc_address="",
            http_address="",
            shutdown_grace=timedelta(seconds=20),
            log_level=LogLevel.INFO,
            tracing=TracingSettings(),
            cloud_tasks=None,
            maintenance_url=self.simulation.url,
            notify_url="http://127.0.0.1:7082/notify",
            notification_keys=(),
        )
        host = EngineHost(
            clock=SkewedClock(self.clock, skew),
            randomness=random,
            pace=tempo.loops,
            worker=WorkerSettings(listen=False, heartbeat_in_thread=False, pace=tempo.queue),
            gate=gate,
            serves=False,
            keeps_partitions=False,
            http=http,
        )
        return open_engine(settings, host)


@contextmanager
def simulated(url: str, seed: int) -> Iterator[Simulation]:
    with open_simulation(url, seed=seed, start=MONDAY) as simulation:
        yield simulation


@contextmanager
def clone(server_url: str, template: str) -> Iterator[str]:
    """A migrated database for one simulation, for tests that need several."""
    database = fresh_database(server_url, template)
    with asyncio.Runner() as runner:
        url = runner.run(database.__aenter__())
        try:
            yield url
        finally:
            runner.run(database.__aexit__(None, None, None))


@asynccontextmanager
async def open_world(simulation: Simulation) -> AsyncIterator[World]:
    gate = simulation.new_process("outside")
    async with (
        open_database(database_settings(simulation.url, gate.name), gate=gate) as db,
        open_dispatcher(db, classes=ENGINE_TASK_CLASSES, clock=simulation.clock, notify=False) as dispatcher,
    ):
        yield World(simulation, gate, db, Stage(db, dispatcher))


def database_settings(url: str, process: str) -> DatabaseSettings:
    # Nobody may wait for a connection: a simulated wait for one could be a wait for ever.
    # In virtual time a lock is waited for as long as it takes: real seconds must not decide anything.
    return DatabaseSettings(url, pool_size=100, application_name=process, lock_timeout=timedelta(hours=1))


def _run_of(row: Row) -> Run:
    return Run(
        invocation_id=row["invocation_id"],
        job_id=row["job_id"],
        status=InvocationStatus(row["status"]),
        launch_attempts=row["launch_attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        scheduled_for=row["scheduled_for"],
        trigger_ids=tuple(trigger.id for trigger in TriggerList.FromString(row["incoming"]).triggers),
    )
