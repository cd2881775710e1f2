"""Runs as people read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from ostinato.cli.formatting import find_time, format_duration, short_name, time_of
from ostinato.cli.tables import Column, note, print_record, print_table
from ostinato.clock import SystemClock
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger

_COLUMNS = (
    Column("RUN"),
    Column("STATUS"),
    Column("STARTED"),
    Column("LATE", right=True),
    Column("TOOK", right=True),
    Column("CAUSE", shrinks_to=8),
    Column("ERROR", shrinks_to=12),
)


def print_runs(runs: Sequence[Invocation]) -> None:
    if not runs:
        note("There are no runs.")
        return
    now = SystemClock().now()
    print_table(_COLUMNS, [_row(run, now) for run in runs])


def print_run(run: Invocation) -> None:
    print_record(
        [
            ("run", short_name(run.name)),
            ("status", Invocation.Status.Name(run.status)),
            ("error", ": ".join(filter(None, (run.error.reason, run.error.message)))),
            ("scheduled for", time_of(run, "scheduled_for")),
            ("due", time_of(run, "due_time") if run.due_time != run.scheduled_for else ""),
            ("created", time_of(run, "create_time")),
            ("started", time_of(run, "start_time")),
            ("finished", time_of(run, "finish_time")),
            ("took", _took(run, SystemClock().now())),
            ("deadline", "" if run.final else time_of(run, "deadline_time")),
            ("last sign of life", "" if run.final else time_of(run, "last_heartbeat_time")),
            ("timers", ", ".join(f"{timer.title} at {time_of(timer, 'due_time')}" for timer in run.timers)),
            ("attempt", str(run.attempt) if run.attempt > 1 else ""),
            ("retry of", short_name(run.retry_of)),
            ("launch attempts", str(run.launch_attempts or "")),
            ("triggered by", run.triggered_by),
            ("triggers", _triggers(run.incoming_triggers)),
            ("emitted", _triggers(run.outgoing_triggers)),
            ("result", _result(run.result) if run.HasField("result") else ""),
            ("page", run.view_url),
            ("revision", run.config_revision),
        ]
    )


def _row(run: Invocation, now: datetime) -> list[str]:
    return [
        run.name.rpartition("/")[2],
        Invocation.Status.Name(run.status),
        time_of(run, "start_time"),
        _late(run),
        _took(run, now),
        _cause(run.incoming_triggers),
        run.error.reason,
    ]


def _late(run: Invocation) -> str:
    """How long after its slot was due it started."""
    due, started = find_time(run, "due_time") or find_time(run, "scheduled_for"), find_time(run, "start_time")
    return format_duration(started - due) if due and started else ""


def _result(result: Struct) -> str:
    """As JSON, whole numbers as one writes them: a Struct knows floats only."""
    as_floats = json.dumps(MessageToDict(result))
    return json.dumps(json.loads(as_floats, parse_float=_number), ensure_ascii=False, sort_keys=True)


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _took(run: Invocation, now: datetime) -> str:
    """Of a run that has not ended: until now."""
    started, finished = find_time(run, "start_time"), find_time(run, "finish_time")
    if started is None or (run.final and finished is None):
        return ""
    return format_duration((finished or now) - started)


def _cause(triggers: Sequence[Trigger]) -> str:
    kinds = sorted({trigger.WhichOneof("payload") or "trigger" for trigger in triggers})
    count = f" ×{len(triggers)}" if len(triggers) > 1 else ""
    return "+".join(kinds) + count


def _triggers(triggers: Sequence[Trigger]) -> str:
    shown = ", ".join(trigger.id for trigger in triggers[:5])
    return f"{shown} and {len(triggers) - 5} more" if len(triggers) > 5 else shown
