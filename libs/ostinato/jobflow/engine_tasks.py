"""The task classes of the scheduler. What they carry, and why: `protos/ostinato/internal/v1/engine_tasks.proto`.

They retry without limit (launches: 50 attempts, decided by the launch itself), because a dead-lettered task
must never freeze a job.
"""

from __future__ import annotations

from datetime import timedelta

from ostinato.pb.internal.v1.engine_tasks_pb2 import (
    HandleNotificationTask,
    HandleTimerTask,
    LaunchInvocationTask,
    TriageJobTask,
)
from ostinato.scheduling.launching import MAX_LAUNCH_BACKOFF, MIN_LAUNCH_BACKOFF
from ostinato.taskqueue.task_class import Retry, TaskClass, TaskKind

# The database is back, or another transaction was faster: ten seconds later everything goes on.
_PASSING = timedelta(seconds=5)
_UNLIMITED = Retry(
    max_attempts=0,
    min_backoff=timedelta(milliseconds=100),
    max_backoff=timedelta(minutes=5),
    max_transient_backoff=_PASSING,
)

TRIAGE_JOB = TaskClass(
    "triage-job", TriageJobTask, kind=TaskKind.FOLLOWS_CONTEXT, queue="triages", retry=_UNLIMITED, max_running=1
)
LAUNCH_INVOCATION = TaskClass(
    "launch-invocation",
    LaunchInvocationTask,
    kind=TaskKind.TRANSACTIONAL,
    queue="launches",
    retry=Retry(
        max_attempts=0,
        min_backoff=MIN_LAUNCH_BACKOFF,
        max_backoff=MAX_LAUNCH_BACKOFF,
        max_transient_backoff=_PASSING,
    ),
    max_running=1000,
    deadline=timedelta(days=8),  # a run's own timeout ends it long before
)
HANDLE_NOTIFICATION = TaskClass(
    "handle-notification",
    HandleNotificationTask,
    kind=TaskKind.FOLLOWS_CONTEXT,
    queue="notifications",
    retry=_UNLIMITED,
)

HANDLE_TIMER = TaskClass(
    "handle-timer",
    HandleTimerTask,
    kind=TaskKind.TRANSACTIONAL,
    queue="timers",
    retry=_UNLIMITED,
    max_running=1000,
    deadline=timedelta(minutes=1),
)

ENGINE_TASK_CLASSES = (TRIAGE_JOB, LAUNCH_INVOCATION, HANDLE_NOTIFICATION, HANDLE_TIMER)


def fair_key_of_job(job_id: int) -> int:
    """For tasks of whom only the job is known: never 0, which would be nobody, and within what a fair key may be."""
    return (job_id ^ job_id >> 31) & 0x7FFF_FFFF or 1
