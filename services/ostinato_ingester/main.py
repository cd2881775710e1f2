"""The ingester: takes notifications from running work over gRPC, HTTP and Pub/Sub and turns each into one task."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from ostinato.auth.administrators import administrators_of
from ostinato.auth.notification_token import NotificationTokens
from ostinato.clock import Clock, SystemClock
from ostinato.config import IngesterSettings, load_ingester_settings, settings_or_exit
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.jobflow.task_queue import open_task_queue
from ostinato.jobstore.schema import SCHEDULER_LINE
from ostinato.pb.ingest.v1.notifications_pb2_grpc import add_NotificationServiceServicer_to_server
from ostinato.rpc.call_interceptor import CallInterceptor
from ostinato.rpc.call_log import CallMetrics
from ostinato.rpc.dispatcher_metrics import register_queue_metrics
from ostinato.rpc.http_endpoint import HttpEndpoint, open_http_endpoint
from ostinato.rpc.readiness import Readiness
from ostinato.rpc.server import GrpcServer, GrpcService, open_grpc_server
from ostinato.rpc.service_process import run_service
from ostinato.storage.migrate import STORAGE_LINE
from ostinato.storage.startup import check_database, open_database_when_ready
from ostinato.taskqueue.schema import TASKQUEUE_LINE
from ostinato.taskqueue.stillborn_tasks import StillbornTasks
from ostinato.telemetry.exporting import open_spans
from ostinato.telemetry.logs import configure_logging
from ostinato.telemetry.metrics import open_registry
from ostinato.telemetry.spans import Spans
from ostinato_ingester.notification_intake import NotificationIntake, NotificationMetrics
from ostinato_ingester.notification_servicer import NotificationServicer
from ostinato_ingester.notify_route import MAX_BODY_BYTES, NotifyRoute
from ostinato_ingester.pubsub_intake import PubSubIntake
from ostinato_ingester.pubsub_metrics import PubSubMetrics
from ostinato_ingester.pubsub_push_route import PubSubPushRoute, PushReceiver
from ostinato_ingester.refused_reports import RefusedReports

if TYPE_CHECKING:
    from ostinato.rpc.oidc_verifier import OidcVerifier
    from ostinato_ingester.open_subscriptions import Subscriptions

SERVICE = "ostinato-ingester"
SCHEMA = (STORAGE_LINE, TASKQUEUE_LINE, SCHEDULER_LINE)


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

    A loop that dies takes the block down with it. `spans`: instead of those that the settings ask for.
    """
    clock = clock or SystemClock()
    registry = open_registry()
    readiness = Readiness()
    metrics = NotificationMetrics(registry)
    route = NotifyRoute(metrics)
    push = PubSubPushRoute() if settings.pubsub.push_callers else None
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_spans(settings.tracing, SERVICE, instead=spans))
        http = await stack.enter_async_context(
            open_http_endpoint(
                settings.http_address,
                ready=readiness.check,
                routes=[route.route(), *([push.route()] if push else [])],
                registry=registry,
                max_body_bytes=MAX_BODY_BYTES,
                shutdown_grace=settings.shutdown_grace,
                clock=clock,
                spans=tracing,
            )
        )
        database = await stack.enter_async_context(open_database_when_ready(settings.database, SCHEMA, clock=clock))
        queue = await stack.enter_async_context(
            open_task_queue(database, settings.cloud_tasks, classes=[HANDLE_NOTIFICATION], clock=clock)
        )
        dispatcher = queue.dispatcher
        register_queue_metrics(registry, queue)
        tokens = NotificationTokens.configured(settings.notification_keys, settings.auth.secret)
        rejected = RejectedReports(database, clock=clock, registry=registry)
        stack.push_async_callback(rejected.drain)
        intake = NotificationIntake(tokens, dispatcher, rejected, clock)
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
        pubsub_intake = PubSubIntake(intake, RefusedReports(StillbornTasks(dispatcher)), metrics)
        subscriptions = await _open_subscriptions(stack, settings, pubsub_intake, registry, clock)
        stack.push_async_callback(_drain, readiness, http, grpc, subscriptions, settings.shutdown_grace)
        route.intake = intake
        if push:
            push.receiver = PushReceiver(await _open_verifier(stack, settings, clock), pubsub_intake)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(group.create_task(rejected.run()).cancel)
        readiness.serve(partial(check_database, database))
        yield Ingester(grpc.address, http.address)


def _notification_service(intake: NotificationIntake, metrics: NotificationMetrics) -> GrpcService:
    servicer = NotificationServicer(intake, metrics)
    return GrpcService(
        "ostinato.ingest.v1.NotificationService", partial(add_NotificationServiceServicer_to_server, servicer)
    )


async def _open_subscriptions(
    stack: AsyncExitStack, settings: IngesterSettings, intake: PubSubIntake, registry: CollectorRegistry, clock: Clock
) -> Subscriptions | None:
    """The extra `cloud` is needed only where settings ask for what is in it."""
    if not settings.pubsub.subscribes:
        return None
    from ostinato_ingester.open_subscriptions import open_subscriptions

    metrics = PubSubMetrics(registry)
    return await stack.enter_async_context(open_subscriptions(settings.pubsub, intake, clock=clock, metrics=metrics))


async def _open_verifier(stack: AsyncExitStack, settings: IngesterSettings, clock: Clock) -> OidcVerifier:
    from ostinato.rpc.oidc_verifier import open_oidc_verifier

    callers = settings.pubsub.push_callers
    return await stack.enter_async_context(open_oidc_verifier(settings.oidc, callers, clock))


async def _drain(
    readiness: Readiness,
    http: HttpEndpoint,
    grpc: GrpcServer,
    subscriptions: Subscriptions | None,
    grace: timedelta,
) -> None:
    """All ends share one grace, and end before the database closes."""
    readiness.drain()
    pulling = subscriptions.drain(grace) if subscriptions else asyncio.sleep(0)
    await asyncio.gather(http.stop(), grpc.stop(grace), pulling)


def main() -> None:
    settings = settings_or_exit(load_ingester_settings, os.environ, sys.argv[1:])
    configure_logging(settings.log_level, SERVICE)
    run_service(lambda: open_ingester(settings))
