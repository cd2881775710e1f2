"""Table of contents of the engine: which code runs which task.

| task (protos/ostinato/internal/v1/engine_tasks.proto) | handler |
|---|---|
| TriageJobTask          | triage_jobs.py: decide what starts, many jobs at once |
| LaunchInvocationTask   | launch_invocation.py: call the target |
| HandleNotificationTask | handle_notification.py: apply what running work reported |
| HandleTimerTask        | handle_timer.py: remind a target of what it asked for |

Beside the tasks run the loops: cron_loop.py, deadline_loop.py, reconcile_loop.py, stop_calls_loop.py,
maintenance_loop.py.
"""

from __future__ import annotations

from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION, HANDLE_TIMER, LAUNCH_INVOCATION, TRIAGE_JOB
from ostinato.taskqueue import Handler
from ostinato_engine.handle_notification import HandleNotification
from ostinato_engine.handle_timer import HandleTimer
from ostinato_engine.launch_invocation import LaunchInvocation
from ostinato_engine.triage_jobs import TriageJobs


def task_handlers(
    triage_jobs: TriageJobs,
    launch_invocation: LaunchInvocation,
    handle_notification: HandleNotification,
    handle_timer: HandleTimer,
) -> list[Handler]:
    """One per task class of the engine."""
    return [
        Handler.batch(TRIAGE_JOB, triage_jobs.handle_triage_jobs),
        Handler.single(LAUNCH_INVOCATION, launch_invocation.handle_launch_invocation),
        Handler.batch(HANDLE_NOTIFICATION, handle_notification.handle_notifications),
        Handler.single(HANDLE_TIMER, handle_timer.handle_timer),
    ]
