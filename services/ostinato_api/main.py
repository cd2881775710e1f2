"""The api: serves the public gRPC services, and health over HTTP."""

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
from ostinato.auth.page_token import PageTokens
from ostinato.clock import Clock, SystemClock
from ostinato.config import ApiSettings, load_api_settings, settings_or_exit
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.jobflow.task_queue import open_task_queue
from ostinato.jobstore.schema import SCHEDULER_LINE
from ostinato.pb.scheduler.v1 import (
    admin_pb2_grpc,
    invocations_pb2_grpc,
    jobs_pb2_grpc,
    projects_pb2_grpc,
    triggers_pb2_grpc,
)
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
from ostinato.telemetry.exporting import open_spans
from ostinato.telemetry.logs import configure_logging
from ostinato.telemetry.metrics import open_registry
from ostinato.telemetry.spans import Spans
from ostinato_api.admin_servicer import AdminServicer
from ostinato_api.api_resources import ApiResources
from ostinato_api.append_logs import AppendLogs
from ostinato_api.invocation_servicer import InvocationServicer
from ostinato_api.job_servicer import JobServicer
from ostinato_api.project_servicer import ProjectServicer
from ostinato_api.trigger_servicer import TriggerServicer
from ostinato_api.watch_loop import WatchLoop, WatchMetrics

SERVICE = "ostinato-api"
SCHEMA = (STORAGE_LINE, TASKQUEUE_LINE, SCHEDULER_LINE)


@dataclass(frozen=True, slots=True)
class Api:
    """A serving api."""

    grpc_address: str
    http_address: str


@asynccontextmanager
async def open_api(
    settings: ApiSettings, *, clock: Clock | None = None, spans: Spans | None = None
) -> AsyncIterator[Api]:
    """Serves during the block and drains at its end. Waits for the database; `/readyz` tells why meanwhile.

    A loop that dies takes the block down with it. `spans`: instead of those that the settings ask for.
    """
    clock = clock or SystemClock()
    registry = open_registry()
    readiness = Readiness()
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_spans(settings.tracing, SERVICE, instead=spans))
        http = await stack.enter_async_context(
            open_http_endpoint(
                settings.http_address,
                ready=readiness.check,
                registry=registry,
                shutdown_grace=settings.shutdown_grace,
                clock=clock,
                spans=tracing,
            )
        )
        database = await stack.enter_async_context(open_database_when_ready(settings.database, SCHEMA, clock=clock))
        queue = await stack.enter_async_context(
            open_task_queue(database, settings.cloud_tasks, classes=ENGINE_TASK_CLASSES, clock=clock)
        )
        register_queue_metrics(registry, queue)
        watches = WatchLoop(database, clock=clock, metrics=WatchMetrics(registry))
        interceptor = CallInterceptor(
            administrators=administrators_of(settings.auth), clock=clock, metrics=CallMetrics(registry), spans=tracing
        )
        rejected = RejectedReports(database, clock=clock, registry=registry)
        stack.push_async_callback(rejected.drain)
        append_logs = AppendLogs(
            database,
            queue.dispatcher,
            NotificationTokens.configured(settings.notification_keys, settings.auth.secret),
            rejected,
            clock=clock,
            registry=registry,
        )
        resources = ApiResources(database, queue, PageTokens(settings.auth.secret), watches, append_logs)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(group.create_task(watches.run()).cancel)
        stack.callback(group.create_task(rejected.run()).cancel)
        grpc = await stack.enter_async_context(
            open_grpc_server(
                settings.grpc_address,
                grpc_services(resources),
                interceptors=[interceptor],
                grace=settings.shutdown_grace,
            )
        )
        stack.push_async_callback(_drain, readiness, http, grpc, settings)
        readiness.serve(partial(check_database, database))
        yield Api(grpc.address, http.address)


def grpc_services(api: ApiResources) -> list[GrpcService]:
    """What the api serves."""
    package = "ostinato.scheduler.v1"
    return [
        GrpcService(f"{package}.JobService", partial(jobs_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(api))),
        GrpcService(
            f"{package}.InvocationService",
            partial(invocations_pb2_grpc.add_InvocationServiceServicer_to_server, InvocationServicer(api)),
        ),
        GrpcService(
            f"{package}.TriggerService",
            partial(triggers_pb2_grpc.add_TriggerServiceServicer_to_server, TriggerServicer(api)),
        ),
        GrpcService(
            f"{package}.ProjectService",
            partial(projects_pb2_grpc.add_ProjectServiceServicer_to_server, ProjectServicer(api)),
        ),
        GrpcService(
            f"{package}.AdminService", partial(admin_pb2_grpc.add_AdminServiceServicer_to_server, AdminServicer(api))
        ),
    ]


async def _drain(readiness: Readiness, http: HttpEndpoint, grpc: GrpcServer, settings: ApiSettings) -> None:
    """Both ends share one grace, and end before the database closes."""
    readiness.drain()
    await asyncio.gather(http.stop(), grpc.stop(settings.shutdown_grace))


def main() -> None:
    settings = settings_or_exit(load_api_settings, os.environ, sys.argv[1:])
    configure_logging(settings.log_level, SERVICE)
    run_service(lambda: open_api(settings))
