"""The ingester: takes notifications from running work over gRPC and HTTP and turns each into one task."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from ostinato.auth.administrators import administrators_of
from ostinato.auth.notification_token import NotificationTokens
from ostinato.clock import Clock, SystemClock
from ostinato.config import IngesterSettings, load_ingester_settings, settings_or_exit
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.pb.ingest.v1.notifications_pb2_grpc import add_NotificationServiceServicer_to_server
from ostinato.rpc.call_interceptor import CallInterceptor
from ostinato.rpc.call_log import CallMetrics
from ostinato.rpc.dispatcher_metrics import DispatcherMetrics
from ostinato.rpc.http_endpoint import HttpEndpoint, open_http_endpoint
from ostinato.rpc.readiness import Readiness
from ostinato.rpc.server import GrpcServer, GrpcService, open_grpc_server
from ostinato.rpc.service_process import run_service
from ostinato.storage.migrate import STORAGE_LINE
from ostinato.storage.startup import check_database, open_database_when_ready
from ostinato.taskqueue import open_dispatcher
from ostinato.taskqueue.schema import TASKQUEUE_LINE
from ostinato.telemetry.exporting import open_spans
from ostinato.telemetry.logs import configure_logging
from ostinato.telemetry.metrics import open_registry
from ostinato.telemetry.spans import Spans
from ostinato_ingester.notification_intake import NotificationIntake, NotificationMetrics
from ostinato_ingester.notification_servicer import NotificationServicer
from ostinato_ingester.notify_route import MAX_BODY_BYTES, NotifyRoute

SERVICE = "ostinato-ingester"
SCHEMA = (STORAGE_LINE, TASKQUEUE_LINE)


@dataclass(frozen=True, slots=True)
class Ingester:
    """A serving ingester."""

    grpc_address: str
    http_address: str


@asynccontextmanager
async def open_ingester(
    settings: IngesterSettings, *, clock: Clock | None = None, spans: Spans | None = None
) -> AsyncIterator[Ingester]:
    """Serves during the block and drains at its end. Waits for the database; `/readyz` tells why meanwhile.

    `spans`: instead of those that the settings ask for.
    """
    clock = clock or SystemClock()
    registry = open_registry()
    readiness = Readiness()
    metrics = NotificationMetrics(registry)
    route = NotifyRoute(metrics)
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_spans(settings.tracing, SERVICE, instead=spans))
        http = await stack.enter_async_context(
            open_http_endpoint(
                settings.http_address,
                ready=readiness.check,
                routes=[route.route()],
                registry=registry,
                max_body_bytes=MAX_BODY_BYTES,
                shutdown_grace=settings.shutdown_grace,
                clock=clock,
                spans=tracing,
            )
        )
        database = await stack.enter_async_context(open_database_when_ready(settings.database, SCHEMA, clock=clock))
        dispatcher = await stack.enter_async_context(
            open_dispatcher(database, classes=[HANDLE_NOTIFICATION], clock=clock)
        )
        registry.register(DispatcherMetrics(dispatcher))
        tokens = NotificationTokens.configured(settings.notification_keys, settings.auth.secret)
        intake = NotificationIntake(tokens, dispatcher, clock)
        interceptor = CallInterceptor(
            administrators=administrators_of(settings.auth), clock=clock, metrics=CallMetrics(registry), spans=tracing
        )
        grpc = await stack.enter_async_context(
            open_grpc_server(
                settings.grpc_address,
                [_notification_service(intake, metrics)],
                interceptors=[interceptor],
                grace=settings.shutdown_grace,
            )
        )
        stack.push_async_callback(_drain, readiness, http, grpc, settings)
        route.intake = intake
        readiness.serve(partial(check_database, database))
        yield Ingester(grpc.address, http.address)


def _notification_service(intake: NotificationIntake, metrics: NotificationMetrics) -> GrpcService:
    servicer = NotificationServicer(intake, metrics)
    return GrpcService(
        "ostinato.ingest.v1.NotificationService", partial(add_NotificationServiceServicer_to_server, servicer)
    )


async def _drain(readiness: Readiness, http: HttpEndpoint, grpc: GrpcServer, settings: IngesterSettings) -> None:
    """Both ends share one grace, and end before the database closes."""
    readiness.drain()
    await asyncio.gather(http.stop(), grpc.stop(settings.shutdown_grace))


def main() -> None:
    settings = settings_or_exit(load_ingester_settings, os.environ, sys.argv[1:])
    configure_logging(settings.log_level, SERVICE)
    run_service(lambda: open_ingester(settings))
