"""Both local clouds on one gRPC and one HTTP address, for a process or a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from ostinato.clock import Clock, SystemClock
from ostinato.localcloud.cloud_routes import JWKS_PATH, CloudRoutes
from ostinato.localcloud.cloud_tasks.local_cloud_tasks import LocalCloudTasks, open_local_cloud_tasks
from ostinato.localcloud.cloud_tasks.queue_directory import TombstoneSettings
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.load_balancer import LoadBalancer
from ostinato.localcloud.pubsub.open_pubsub import open_pubsub
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.http_endpoint import open_http_endpoint
from ostinato.rpc.server import open_grpc_server


@dataclass(frozen=True, slots=True)
class LocalCloudSettings:
    """Addresses are HOST:PORT; with port 0 a free one is taken. `seed` steers faults that happen by chance.

    `balanced`: of tasks pushed to an address, who takes them in turn.
    """

    grpc_address: str = "127.0.0.1:9022"
    http_address: str = "127.0.0.1:9023"
    tombstones: TombstoneSettings = field(default_factory=TombstoneSettings)
    seed: int = 0
    balanced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """Served during the block that opened it. The addresses have the real ports."""

    grpc_address: str
    http_address: str
    tokens: TokenIssuer
    faults: FaultPlan
    tasks: LocalCloudTasks

    @property
    def jwks_url(self) -> str:
        return f"{self.tokens.issuer}{JWKS_PATH}"


@asynccontextmanager
async def open_local_cloud(
    settings: LocalCloudSettings, *, clock: Clock | None = None, faults: FaultPlan | None = None
) -> AsyncIterator[LocalCloud]:
    """Everything is forgotten at the end of the block. Raises OSError when an address can't be bound."""
    clock = clock or SystemClock()
    faults = faults or FaultPlan(settings.seed)
    routes = CloudRoutes(faults)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            open_http_endpoint(
                settings.http_address, ready=_always, routes=routes.routes(), clock=clock, shutdown_grace=timedelta(0)
            )
        )
        tokens = routes.tokens = TokenIssuer(http.url)
        tasks = await stack.enter_async_context(
            open_local_cloud_tasks(
                clock=clock,
                faults=faults,
                tokens=tokens,
                tombstones=settings.tombstones,
                balancer=LoadBalancer(settings.balanced),
            )
        )
        pubsub = await stack.enter_async_context(open_pubsub(clock=clock, faults=faults, tokens=tokens))
        grpc = await stack.enter_async_context(
            open_grpc_server(
                settings.grpc_address, [tasks.service, *pubsub], interceptors=[], grace=timedelta(seconds=1)
            )
        )
        yield LocalCloud(grpc.address, http.address, tokens, faults, tasks)


async def _always() -> None:
    """Nothing has to be waited for."""
