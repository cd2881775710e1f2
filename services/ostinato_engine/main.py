"""The engine: runs the queue's tasks and the loops beside them. Any number of engines share the work, none leads."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from ostinato.auth.administrators import administrators_of
from ostinato.auth.notification_token import NotificationTokens
from ostinato.config import EngineSettings, load_engine_settings, settings_or_exit
from ostinato.config.authentication import AuthMode
from ostinato.config.database import DatabaseSettings
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.jobflow.task_queue import TaskQueue, open_task_queue
from ostinato.jobstore.schema import SCHEDULER_LINE
from ostinato.pb.engine.v1.engine_pb2_grpc import add_EngineServiceServicer_to_server
from ostinato.rpc.call_interceptor import CallInterceptor
from ostinato.rpc.call_log import CallMetrics
from ostinato.rpc.dispatcher_metrics import register_queue_metrics
from ostinato.rpc.http_endpoint import open_http_endpoint
from ostinato.rpc.readiness import Readiness
from ostinato.rpc.server import GrpcServer, GrpcService, open_grpc_server
from ostinato.rpc.service_process import run_service
from ostinato.storage.database import Database
from ostinato.storage.migrate import STORAGE_LINE
from ostinato.storage.startup import check_database, open_database_when_ready
from ostinato.taskqueue import Dispatcher, Handler, Worker
from ostinato.taskqueue.schema import TASKQUEUE_LINE
from ostinato.taskqueue.sweeping.sweep_loop import SweepLoop
from ostinato.telemetry.exporting import open_spans
from ostinato.telemetry.logs import configure_logging
from ostinato.telemetry.metrics import open_registry
from ostinato.telemetry.spans import Spans
from ostinato_engine.cron_loop import CronLoop
from ostinato_engine.deadline_loop import DeadlineLoop
from ostinato_engine.engine_host import EngineHost
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.engine_servicer import EngineServicer
from ostinato_engine.handle_notification import HandleNotification
from ostinato_engine.handle_timer import HandleTimer
from ostinato_engine.launch_invocation import LaunchInvocation
from ostinato_engine.maintenance_loop import MaintenanceLoop
from ostinato_engine.push_routes import MAX_BODY_BYTES, PATIENT_PATHS, PushRoutes
from ostinato_engine.queue_metrics import QueueMeasures
from ostinato_engine.queue_settings import queue_settings
from ostinato_engine.reconcile_loop import ReconcileLoop
from ostinato_engine.running_launches import RunningLaunches
from ostinato_engine.stop_calls_loop import StopCallsLoop
from ostinato_engine.targets.address_rules import AddressRules
from ostinato_engine.targets.http import open_http_launcher, token_issuer
from ostinato_engine.targets.launchers import Launchers
from ostinato_engine.targets.noop import NoopLauncher
from ostinato_engine.task_handlers import task_handlers
from ostinato_engine.tasks_at_work import TasksAtWork
from ostinato_engine.triage_jobs import TriageJobs
from ostinato_engine.worker_metrics import WorkerMetrics

if TYPE_CHECKING:
    from ostinato.taskqueue.cloud_tasks.push_receiver import PushReceiver

SERVICE = "ostinato-engine"
SCHEMA = (STORAGE_LINE, TASKQUEUE_LINE, SCHEDULER_LINE)


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine. The addresses are empty where it does not serve."""

    worker: Worker
    grpc_address: str
    http_address: str


@asynccontextmanager
async def open_engine(settings: EngineSettings, host: EngineHost | None = None) -> AsyncIterator[Engine]:
    """Runs tasks during the block and drains at its end. Waits for the database; `/readyz` tells why meanwhile.

    A loop that dies takes the block down with it.
    """
    host = host or EngineHost()
    registry = open_registry()
    readiness = Readiness()
    metrics = EngineMetrics(registry)
    running = RunningLaunches()
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_spans(settings.tracing, SERVICE, instead=host.spans))
        measures = QueueMeasures(host.clock, registry, reminders=settings.cloud_tasks is not None)
        pushes = PushRoutes() if settings.cloud_tasks else None
        http_address = await _open_http(
            stack, settings, host, readiness, registry=registry, measures=measures, pushes=pushes
        )
        db = await stack.enter_async_context(
            open_database_when_ready(settings.database, SCHEMA, clock=host.clock, gate=host.gate)
        )
        queue = await stack.enter_async_context(
            open_task_queue(
                db,
                settings.cloud_tasks,
                classes=ENGINE_TASK_CLASSES,
                clock=host.clock,
                notify=host.worker.listen,
                queues=queue_settings(settings.queue_limits),
                prepares=True,
            )
        )
        dispatcher = queue.dispatcher
        cron = CronLoop(db, dispatcher, clock=host.clock, metrics=metrics, longest_sleep=host.pace.look_every)
        at_work = await _open_work(
            stack, settings, host, queue, cron=cron, running=running, pushes=pushes, metrics=metrics, spans=tracing
        )
        registry.register(WorkerMetrics(at_work))
        register_queue_metrics(registry, queue)
        measures.begin(db)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        loops = [
            cron.run(),
            *_other_loops(db, dispatcher, running, cron, settings=settings, host=host, metrics=metrics),
            *_sweep_loops(db, queue, settings, host),
        ]
        tasks = [group.create_task(loop) for loop in loops]
        working = group.create_task(at_work.worker.run())
        stack.callback(_cancel, tasks)
        grpc = await _open_grpc(stack, settings, host, at_work, registry=registry, spans=tracing)
        stack.push_async_callback(_drain, readiness, grpc, at_work, working, settings.shutdown_grace)
        readiness.serve(partial(check_database, db))
        yield Engine(at_work.worker, grpc.address if grpc else "", http_address)


async def _open_http(
    stack: AsyncExitStack,
    settings: EngineSettings,
    host: EngineHost,
    readiness: Readiness,
    *,
    registry: CollectorRegistry,
    measures: QueueMeasures,
    pushes: PushRoutes | None,
) -> str:
    """First of all, so that probes are answered while the database is away."""
    if not host.serves:
        return ""
    endpoint = await stack.enter_async_context(
        open_http_endpoint(
            settings.http_address,
            ready=readiness.check,
            routes=pushes.routes() if pushes else (),
            registry=registry,
            max_body_bytes=MAX_BODY_BYTES,
            clock=host.clock,
            before_metrics=measures.refresh,
            patient_paths=PATIENT_PATHS,
        )
    )
    return endpoint.address


async def _open_work(
    stack: AsyncExitStack,
    settings: EngineSettings,
    host: EngineHost,
    queue: TaskQueue,
    *,
    cron: CronLoop,
    running: RunningLaunches,
    pushes: PushRoutes | None,
    metrics: EngineMetrics,
    spans: Spans,
) -> TasksAtWork:
    """The handlers, and who calls them: from now on the receiver of pushes, and the worker as soon as it runs."""
    dispatcher, clock = queue.dispatcher, host.clock
    db = dispatcher.db
    launchers = await _open_launchers(stack, settings, host, spans)
    handlers = task_handlers(
        TriageJobs(db, dispatcher, metrics=metrics, rewound=cron.wake, random=host.randomness),
        LaunchInvocation(db, dispatcher, launchers, running, clock=clock, metrics=metrics),
        HandleNotification(db, dispatcher, metrics=metrics),
        HandleTimer(db, dispatcher, launchers, clock=clock, metrics=metrics),
    )
    worker = Worker(
        db,
        dispatcher,
        handlers,
        settings=replace(host.worker, drain_grace=settings.shutdown_grace.total_seconds()),
        clock=clock,
        randomness=host.randomness,
        spans=spans,
    )
    receiver = await _open_receiver(stack, pushes, settings, host, queue, handlers=handlers, worker=worker, spans=spans)
    return TasksAtWork(worker, receiver)


async def _open_receiver(
    stack: AsyncExitStack,
    pushes: PushRoutes | None,
    settings: EngineSettings,
    host: EngineHost,
    queue: TaskQueue,
    *,
    handlers: Sequence[Handler],
    worker: Worker,
    spans: Spans,
) -> PushReceiver | None:
    """The extra `cloud` is needed only where settings ask for what is in it."""
    if pushes is None:
        return None
    from ostinato_engine.remote_tasks import open_push_side

    pushes.side = await stack.enter_async_context(
        open_push_side(settings, queue, handlers, worker, clock=host.clock, spans=spans)
    )
    return pushes.side.receiver


def _sweep_loops(
    db: Database, queue: TaskQueue, settings: EngineSettings, host: EngineHost
) -> list[Coroutine[Any, Any, None]]:
    if settings.cloud_tasks is None or queue.sweeping is None:
        return []
    return [SweepLoop(db, queue.sweeping.sweeper, host.clock, every=settings.cloud_tasks.sweep.every).run()]


async def _open_launchers(stack: AsyncExitStack, settings: EngineSettings, host: EngineHost, spans: Spans) -> Launchers:
    tokens = NotificationTokens.configured(settings.notification_keys, settings.auth.secret)
    http = await stack.enter_async_context(
        open_http_launcher(
            rules=AddressRules(
                allow_loopback=settings.auth.mode is AuthMode.DEV, forbidden=settings.forbidden_networks
            ),
            notify_url=settings.notify_url,
            issue_token=token_issuer(tokens, host.clock),
            spans=spans,
        )
    )
    return Launchers(NoopLauncher(host.clock), host.http or http)


def _other_loops(
    db: Database,
    dispatcher: Dispatcher,
    running: RunningLaunches,
    cron: CronLoop,
    *,
    settings: EngineSettings,
    host: EngineHost,
    metrics: EngineMetrics,
) -> list[Coroutine[Any, Any, None]]:
    clock, pace = host.clock, host.pace
    maintenance_settings = DatabaseSettings(settings.maintenance_url, application_name="ostinato-maintenance")
    maintenance = MaintenanceLoop(db, maintenance_settings, clock=clock, metrics=metrics, pace=pace.maintenance)
    deadlines = DeadlineLoop(db, dispatcher, running, clock=clock, metrics=metrics, longest_sleep=pace.look_every)
    reconciler = ReconcileLoop(
        db, dispatcher, clock=clock, metrics=metrics, fire_due=cron.fire_due, every=pace.reconcile_every
    )
    loops = [
        deadlines.run(),
        StopCallsLoop(db, running, clock=clock, metrics=metrics, every=pace.look_every).run(),
        reconciler.run(),
        maintenance.purge(),
    ]
    return [*loops, maintenance.keep_partitions()] if host.keeps_partitions else loops


async def _open_grpc(
    stack: AsyncExitStack,
    settings: EngineSettings,
    host: EngineHost,
    at_work: TasksAtWork,
    *,
    registry: CollectorRegistry,
    spans: Spans,
) -> GrpcServer | None:
    if not host.serves:
        return None
    servicer = EngineServicer(at_work, started_at=host.clock.now(), end_process=host.end_process)
    service = GrpcService("ostinato.engine.v1.EngineService", partial(add_EngineServiceServicer_to_server, servicer))
    interceptor = CallInterceptor(
        administrators=administrators_of(settings.auth), clock=host.clock, metrics=CallMetrics(registry), spans=spans
    )
    return await stack.enter_async_context(
        open_grpc_server(settings.grpc_address, [service], interceptors=[interceptor], grace=settings.shutdown_grace)
    )


async def _drain(
    readiness: Readiness,
    grpc: GrpcServer | None,
    at_work: TasksAtWork,
    working: asyncio.Task[None],
    grace: timedelta,
) -> None:
    """Not ready, no further tasks; returns when what runs has ended, or after the grace."""
    readiness.drain()
    if grpc is not None:
        await grpc.drain()
    await asyncio.gather(at_work.drain(grace), asyncio.wait([working]))


def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def main() -> None:
    settings = settings_or_exit(load_engine_settings, os.environ, sys.argv[1:])
    configure_logging(settings.log_level, SERVICE)
    run_service(lambda: open_engine(settings))
