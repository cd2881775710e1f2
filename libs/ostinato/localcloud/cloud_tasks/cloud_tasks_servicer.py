"""The methods of google.cloud.tasks.v2.CloudTasks by their names on the wire. Those about IAM are not served."""

from __future__ import annotations

from collections.abc import Mapping

from ostinato.clock import Clock
from ostinato.errors import InvalidArgument
from ostinato.localcloud.cloud_tasks import wire_types as wire
from ostinato.localcloud.cloud_tasks.queue_methods import QueueMethods
from ostinato.localcloud.cloud_tasks.task_methods import TaskMethods
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.unary_methods import Context, UnaryMethod, unary, unary_service
from ostinato.rpc.server import GrpcService

SERVICE = "google.cloud.tasks.v2.CloudTasks"

# Cloud Tasks refuses calls whose deadline lies farther ahead.
LONGEST_CALL_SECONDS = 30.0


def cloud_tasks_service(queues: QueueMethods, tasks: TaskMethods, *, faults: FaultPlan, clock: Clock) -> GrpcService:
    return unary_service(SERVICE, _methods(queues, tasks), faults=faults, clock=clock, check=_check_deadline)


def _methods(queues: QueueMethods, tasks: TaskMethods) -> Mapping[str, UnaryMethod]:
    return {
        "ListQueues": unary(wire.ListQueuesRequest, queues.list_queues),
        "GetQueue": unary(wire.GetQueueRequest, queues.get_queue),
        "CreateQueue": unary(wire.CreateQueueRequest, queues.create_queue),
        "UpdateQueue": unary(wire.UpdateQueueRequest, queues.update_queue),
        "DeleteQueue": unary(wire.DeleteQueueRequest, queues.delete_queue),
        "PurgeQueue": unary(wire.PurgeQueueRequest, queues.purge_queue),
        "PauseQueue": unary(wire.PauseQueueRequest, queues.pause_queue),
        "ResumeQueue": unary(wire.ResumeQueueRequest, queues.resume_queue),
        "ListTasks": unary(wire.ListTasksRequest, tasks.list_tasks),
        "GetTask": unary(wire.GetTaskRequest, tasks.get_task),
        "CreateTask": unary(wire.CreateTaskRequest, tasks.create_task),
        "DeleteTask": unary(wire.DeleteTaskRequest, tasks.delete_task),
        "RunTask": unary(wire.RunTaskRequest, tasks.run_task),
    }


def _check_deadline(context: Context) -> None:
    remaining = context.time_remaining()
    # A call without a deadline has one that lies years ahead.
    if remaining is not None and LONGEST_CALL_SECONDS < remaining < 1e8:
        raise InvalidArgument.of("deadline", f"can't be more than {LONGEST_CALL_SECONDS:g} s in the future")
