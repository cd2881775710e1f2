"""A transactional task queue on PostgreSQL: a task added in a committed transaction is delivered at least once.

A library of its own: it knows nothing of jobs, and needs no other process than the one that uses it.
"""

from ostinato.taskqueue.administration import pause_queue, purge_old_dead_letters, purge_queue, resume_queue
from ostinato.taskqueue.dead_letters import list_dead_letters, purge_dead_letters
from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded.dead_letter_store import DeadLetter
from ostinato.taskqueue.embedded.queue_store import QueueStats, queue_stats
from ostinato.taskqueue.embedded.ready_store import find_queued_payloads
from ostinato.taskqueue.embedded.worker_stats import BUCKET_ENDS, CLASS_EVENTS, ClassStats, TimeHistogram
from ostinato.taskqueue.grouped_calls import GroupedCalls
from ostinato.taskqueue.handler import Handler
from ostinato.taskqueue.open_dispatcher import open_dispatcher
from ostinato.taskqueue.outcome import Outcome
from ostinato.taskqueue.priority import Priority
from ostinato.taskqueue.queue_inspection import are_reminders_late, missing_tasks, reminded_payloads, remote_payloads
from ostinato.taskqueue.queue_measure import QueueMeasure
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.remote_queue import RemoteAdd, RemoteDepth, RemoteQueue
from ostinato.taskqueue.running_task import running_task
from ostinato.taskqueue.task_class import Backend, CustomPayload, QueuePicker, Retry, TaskClass, TaskKind
from ostinato.taskqueue.task_context import TaskContext, complete_many_in
from ostinato.taskqueue.task_options import TaskOptions
from ostinato.taskqueue.worker import Worker, WorkerSettings

__all__ = [
    "BUCKET_ENDS",
    "CLASS_EVENTS",
    "Backend",
    "ClassStats",
    "CustomPayload",
    "DeadLetter",
    "Dispatcher",
    "GroupedCalls",
    "Handler",
    "Outcome",
    "Priority",
    "QueueMeasure",
    "QueuePicker",
    "QueueSettings",
    "QueueStats",
    "RemoteAdd",
    "RemoteDepth",
    "RemoteQueue",
    "Retry",
    "TaskClass",
    "TaskContext",
    "TaskKind",
    "TaskOptions",
    "TimeHistogram",
    "Worker",
    "WorkerSettings",
    "are_reminders_late",
    "complete_many_in",
    "find_queued_payloads",
    "list_dead_letters",
    "missing_tasks",
    "open_dispatcher",
    "pause_queue",
    "purge_dead_letters",
    "purge_old_dead_letters",
    "purge_queue",
    "queue_stats",
    "reminded_payloads",
    "remote_payloads",
    "resume_queue",
    "running_task",
]
