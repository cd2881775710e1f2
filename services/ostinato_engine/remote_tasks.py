"""An engine's side of a remote queue: takes the tasks that are pushed, and sweeps up what never got there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.config import EngineSettings
from ostinato.jobflow.task_queue import Sweeping, TaskQueue
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.rpc.oidc_verifier import open_oidc_verifier
from ostinato.taskqueue import Handler, TaskContext, Worker
from ostinato.taskqueue.cloud_tasks.push_receiver import open_push_receiver
from ostinato.taskqueue.sweeping.sweep_class import SWEEP_DEADLINE
from ostinato.telemetry.spans import Spans
from ostinato_engine.push_routes import PushSide


@asynccontextmanager
async def open_push_side(
    settings: EngineSettings,
    queue: TaskQueue,
    handlers: Sequence[Handler],
    worker: Worker,
    *,
    clock: Clock,
    spans: Spans,
) -> AsyncIterator[PushSide]:
    """Takes tasks during the block; drained at its end, if it was not before. Counts beside the worker."""
    assert settings.cloud_tasks is not None
    assert queue.sweeping is not None, "it comes with the remote queue"
    async with (
        open_oidc_verifier(settings.oidc, settings.cloud_tasks.pushers, clock) as verifier,
        open_push_receiver(
            queue.dispatcher,
            [*handlers, sweep_handler(queue.sweeping)],
            verifier,
            clock=clock,
            spans=spans,
            drain_grace=settings.shutdown_grace.total_seconds(),
            stats=worker.stats,
        ) as receiver,
    ):
        yield PushSide(receiver, verifier, queue.sweeping.sweeper)


def sweep_handler(sweeping: Sweeping) -> Handler:
    """May run twice: it submits tasks by their names, and its follow-ups only cost time."""

    async def handle_sweep(_: TaskContext, payload: SweepTask) -> None:
        await sweeping.distributed.handle(payload, time_left=_TIME_LEFT)

    return Handler.single(sweeping.task_class, handle_sweep)


_TIME_LEFT = SWEEP_DEADLINE - timedelta(seconds=5)
