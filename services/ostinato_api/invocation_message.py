"""An invocation as the API shows it."""

from __future__ import annotations

from datetime import datetime

from ostinato.jobstore.invocation_listing_store import ListedInvocation, ListedTimer
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.invocation import is_final
from ostinato.scheduling.names import invocation_name
from ostinato_api.proto_time import set_time


def invocation_message(row: ListedInvocation) -> Invocation:
    message = Invocation(
        name=invocation_name(row.job_name, row.id),
        job_uid=str(row.job_uid),
        status=Invocation.Status.ValueType(row.status),
        final=is_final(row.status),
        attempt=row.attempt,
        triggered_by=row.triggered_by,
        incoming_triggers=TriggerList.FromString(row.incoming).triggers,
        outgoing_triggers=TriggerList.FromString(row.outgoing or b"").triggers,
        view_url=row.view_url,
        config_revision=row.revision,
        launch_attempts=row.launch_attempts,
        retry_of="" if row.retry_of is None else invocation_name(row.job_name, row.retry_of),
        timers=map(_timer, row.timers),
    )
    if row.result is not None:
        message.result.ParseFromString(row.result)
    if row.error_reason:
        message.error.reason = row.error_reason
        message.error.message = row.error_message
        message.error.retryable = row.error_retryable
    set_time(message.scheduled_for, row.scheduled_for)
    _set_due_time(message)
    set_time(message.create_time, row.created_at)
    set_time(message.start_time, row.started_at)
    set_time(message.finish_time, row.finished_at)
    set_time(message.deadline_time, _deadline(row))
    set_time(message.last_heartbeat_time, row.last_heartbeat_at)
    return message


def _set_due_time(message: Invocation) -> None:
    """Of several slots in one run the newest counts, as in `scheduled_for`."""
    crons = [trigger.cron for trigger in message.incoming_triggers if trigger.HasField("cron")]
    newest = max(crons, key=lambda cron: cron.slot.ToNanoseconds(), default=None)
    if newest is None or not message.HasField("scheduled_for"):
        return
    message.tzdata_version = newest.tzdata_version
    if newest.HasField("due_time"):
        message.due_time.CopyFrom(newest.due_time)


def _timer(timer: ListedTimer) -> Invocation.Timer:
    message = Invocation.Timer(id=timer.id, title=timer.title)
    set_time(message.create_time, timer.created_at)
    set_time(message.due_time, timer.due_at)
    return message


def _deadline(row: ListedInvocation) -> datetime | None:
    """The run timeout counts from the first launch attempt; what has ended has no deadline any more."""
    if row.started_at is None or is_final(row.status):
        return None
    return row.started_at + JobConfig.FromString(row.definition).timeout.ToTimedelta()
