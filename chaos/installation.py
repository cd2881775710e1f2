"""PostgreSQL, the services and the http target together; brought up, made to suffer, settled, taken down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from itertools import count
from pathlib import Path

from chaos.cloud import FAULTS, Cloud, open_cloud
from chaos.fault_plan import PlannedFault, ServiceFault, database_faults, service_faults
from chaos.postgres import Postgres, open_postgres
from chaos.project import SCHEDULED, config, resource_name
from chaos.services import Journal, Service, common_environ
from chaos.target import Target, open_target
from ostinato.client import open_client
from ostinato.pb.scheduler.v1.projects_pb2 import ApplyProjectConfigRequest

FIRST_ENGINES = 2
MOST_ENGINES = 4


class NotStartedError(Exception):
    """Nobody has done any harm yet, and a service ended."""


class Installation:
    """Build it with `open_installation`, or with `open_services` on a database that others look after."""

    def __init__(
        self, postgres: Postgres, target: Target, folder: Path, environ: Mapping[str, str], cloud: Cloud | None = None
    ) -> None:
        self.postgres = postgres
        self.cloud = cloud
        self.target = target
        self.journal = Journal(folder / "chaos.log")
        self.served_again_at: list[float] = []  # on the loop's clock, one per fault of the database
        self.folder = folder
        self._common = {**common_environ(postgres.url, postgres.owner_url), **environ}
        if cloud is not None:
            self._common |= cloud.environ
            cloud.balancer.engines = lambda: [engine.http_address for engine in self.engines if not engine.frozen]
        self._running: dict[Service, asyncio.Task[None]] = {}
        self._freezing: set[asyncio.Task[None]] = set()
        self._engine_numbers = count(1)
        self.api = self._start("api")
        ingester = self._start("ingester")
        self._common["OSTINATO_ENGINE_NOTIFY_URL"] = f"http://{ingester.http_address}/notify"
        for _ in range(FIRST_ENGINES):
            self.start_engine()

    @property
    def services(self) -> list[Service]:
        """Those that are to stay."""
        return [service for service in self.running if not service.leaving]

    @property
    def running(self) -> list[Service]:
        """Those that are there, also if they are leaving."""
        return [service for service, task in self._running.items() if not task.done()]

    @property
    def engines(self) -> list[Service]:
        return [service for service in self.services if service.kind == "engine"]

    async def begin(self) -> None:
        """Returns when all serve and the jobs are there. Raises NotStartedError if one of them can't start."""
        serving = asyncio.ensure_future(self.until_ready())
        while not serving.done():
            if self.journal.complaints:
                serving.cancel()
                raise NotStartedError(self.journal.complaints[0])
            await asyncio.wait([serving], timeout=0.2)
        async with open_client(self.api.grpc_address) as client:
            await client.apply_project_config(ApplyProjectConfigRequest(config=config(self.target.url)))

    async def until_ready(self) -> None:
        await asyncio.gather(*(service.until_ready() for service in self.services))

    async def suffer(self, seed: int, seconds: float) -> None:
        """Both rows of faults, for so long, and those of Cloud Tasks. Nothing is frozen or down afterwards."""
        end = asyncio.get_running_loop().time() + seconds
        if self.cloud is not None:
            await self.cloud.plan(*FAULTS)
        await asyncio.gather(
            self._suffer_in_services(service_faults(seed), end),
            self._suffer_in_database(database_faults(seed), end),
        )
        await asyncio.gather(*self._freezing)
        if self.cloud is not None:
            await self.cloud.plan()

    async def pause_schedules(self) -> None:
        async with open_client(self.api.grpc_address) as client:
            for job in SCHEDULED:
                await client.pause_job(resource_name(job), reason="the end of the run")

    async def end(self) -> None:
        """SIGTERM to all. Whoever does not drain in time is complained about."""
        for service in self.services:
            service.leave()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def kill(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _suffer_in_services(self, faults: Iterator[PlannedFault], end: float) -> None:
        for fault in faults:
            if not await _reached(fault.after, end):
                return
            if self._carry_out(fault):
                self.journal.faults[fault.kind] += 1

    async def _suffer_in_database(self, faults: Iterator[PlannedFault], end: float) -> None:
        for fault in faults:
            if not await _reached(fault.after, end):
                return
            self.journal.faults[fault.kind] += 1
            self.journal.note(f"PostgreSQL: {fault.kind}")
            await self.postgres.suffer(fault)
            self.journal.note("PostgreSQL serves")
            self.served_again_at.append(asyncio.get_running_loop().time())

    def _carry_out(self, fault: PlannedFault) -> bool:
        """False if there is nobody whom it could hit."""
        if fault.kind is ServiceFault.JOIN:
            if len(self.engines) == MOST_ENGINES:
                return False
            self.start_engine()
            return True
        victims = self._victims(fault.kind)
        if not victims:
            return False
        self._hit(victims[int(fault.choice * len(victims))], fault)
        return True

    def _victims(self, kind: str) -> list[Service]:
        if kind == ServiceFault.FREEZE and self._freezing:
            return []  # one at a time, or nobody is left to do anything
        if kind == ServiceFault.LEAVE and len(self.engines) == FIRST_ENGINES:
            return []
        candidates = self.engines if kind == ServiceFault.LEAVE else self.services
        return [service for service in candidates if not service.frozen]

    def _hit(self, victim: Service, fault: PlannedFault) -> None:
        self.journal.note(f"{victim.name}: {fault.kind}")
        match fault.kind:
            case ServiceFault.KILL:
                victim.kill(away=fault.lasts)
            case ServiceFault.TERMINATE:
                victim.ask_to_end(away=fault.lasts)
            case ServiceFault.LEAVE:
                victim.leave()
            case ServiceFault.FREEZE:
                freezing = asyncio.create_task(victim.freeze(fault.lasts))
                self._freezing.add(freezing)
                freezing.add_done_callback(self._freezing.discard)

    def start_engine(self) -> Service:
        return self._start(f"engine-{next(self._engine_numbers)}")

    def _start(self, name: str) -> Service:
        service = Service(name, self._common, self.folder, self.journal)
        self._running[service] = asyncio.create_task(service.keep_running())
        return service


async def _reached(after: float, end: float) -> bool:
    """Sleeps; False if that leads past the end."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(min(after, max(0.0, end - loop.time())))
    return loop.time() < end


@asynccontextmanager
async def open_installation(folder: Path, seed: int, *, with_cloud: bool = False) -> AsyncIterator[Installation]:
    """Its files are in `folder`. Every process ends with the block. `with_cloud`: its tasks wait in local clouds."""
    async with (
        open_target(seed) as target,
        open_postgres(folder / "postgres", folder / "postgres.log") as postgres,
        open_cloud(folder) if with_cloud else nullcontext() as cloud,
        open_services(postgres, target, folder, cloud=cloud) as installed,
    ):
        yield installed


@asynccontextmanager
async def open_services(
    postgres: Postgres,
    target: Target,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    *,
    cloud: Cloud | None = None,
) -> AsyncIterator[Installation]:
    """`environ`: settings of all services, which win over the usual ones. With `cloud` tasks wait there."""
    installed = Installation(postgres, target, folder, environ or {}, cloud)
    try:
        yield installed
    finally:
        await installed.kill()
