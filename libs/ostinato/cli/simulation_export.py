"""The runs of a job as a file for `ostinato simulate`: what brought them when, and how long each took.

Slots are triggers like the others there. Left out is what the api does not list: triggers that started nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.cli.formatting import find_time, format_time, short_name
from ostinato.cli.refusal import Refusal
from ostinato.client import OstinatoClient
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.pb.scheduler.v1.jobs_pb2 import Job, TriggeringPolicy
from ostinato.scheduling.simulating import MAX_TRIGGERS

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class RecordedTrigger:
    """`took`: how long its run had its place; None of one that goes on."""

    id: str
    came_at: datetime
    order_in_batch: int
    took: timedelta | None


@dataclass(frozen=True, slots=True)
class History:
    """`triggers` is oldest first, from `start` to `until`, whole seconds. `retries`: runs that are left out."""

    job: Job
    start: datetime
    until: datetime
    triggers: Sequence[RecordedTrigger]
    retries: int


async def load_history(client: OstinatoClient, name: str, start: datetime | None, end: datetime | None) -> History:
    """Triggers that came in [start, end). Raises Refusal if there are none, or too many."""
    job = await client.get_job(name)
    found: list[RecordedTrigger] = []
    retries = 0
    last_end: datetime | None = None
    async for run in client.list_invocations(name):
        created = find_time(run, "create_time")
        if start is not None and created is not None and created < start:
            break  # newest first
        if run.retry_of:
            retries += 1
            continue
        came = [each for each in _recorded(run) if _is_within(each.came_at, start, end)]
        found += came
        if len(found) > MAX_TRIGGERS:
            raise Refusal(
                f"the runs of {short_name(name)} have more than {MAX_TRIGGERS} triggers: narrow --from and --to."
            )
        finished = find_time(run, "finish_time")
        if came and finished is not None:
            last_end = finished if last_end is None else max(last_end, finished)
    if not found:
        raise Refusal(f"no run of {short_name(name)} has a trigger of that time.")
    found.sort(key=lambda each: (each.came_at, each.order_in_batch, each.id))
    first = found[0].came_at if start is None else start
    last = max(at for at in (found[-1].came_at, last_end, end) if at is not None)
    return History(job, first.replace(microsecond=0), _whole_second_after(last), found, retries)


def write_simulation(history: History) -> str:
    job = history.job
    _, project, _, job_id = job.name.split("/")
    lines = [
        f"# What started {project}/{job_id}. Slots stand among the triggers; its schedule was",
        f"#   {json.dumps(job.schedule, ensure_ascii=False)}",
        "# Add policies and say: ostinato simulate FILE",
        f"start: {format_time(history.start)}",
        f"until: {format_time(history.until)}",
        f"run_takes: {_duration(_usual(history))}  # the median",
        f"project: {project}",
        "job:",
        f"  id: {json.dumps(job_id)}",
        f"  triggering_policy: {_policy(job.triggering_policy)}",
        *(f"  {line}" for line in _intake(job)),
        "policies:",
        "  - name: as it is",
        "triggers:",
        *(f"  - {{{_trigger(each, history.start, name)}}}" for each, name in _named(history.triggers)),
    ]
    return "\n".join(lines) + "\n"


def _recorded(run: Invocation) -> Iterator[RecordedTrigger]:
    created, finished = find_time(run, "create_time"), find_time(run, "finish_time")
    took = None if created is None or finished is None else finished - created
    for trigger in run.incoming_triggers:
        came_at = find_time(trigger, "create_time")
        if came_at is not None:
            yield RecordedTrigger(trigger.id, came_at, trigger.order_in_batch, took)


def _is_within(at: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= at) and (end is None or at < end)


def _named(triggers: Sequence[RecordedTrigger]) -> Iterator[tuple[RecordedTrigger, str]]:
    """With ids that differ: an id may come again when enough time has passed."""
    seen: dict[str, int] = {}
    taken = {trigger.id for trigger in triggers}
    for trigger in triggers:
        number = seen.get(trigger.id, 0) + 1
        name = trigger.id
        while number > 1 and (name := f"{trigger.id}#{number}") in taken:
            number += 1
        seen[trigger.id] = number
        taken.add(name)
        yield trigger, name


def _trigger(trigger: RecordedTrigger, start: datetime, name: str) -> str:
    takes = "" if trigger.took is None else f", run_takes: {_duration(trigger.took)}"
    return f"after: {_duration(trigger.came_at - start)}, id: {json.dumps(name, ensure_ascii=False)}{takes}"


def _policy(policy: TriggeringPolicy) -> str:
    parts = [
        f"kind: {TriggeringPolicy.Kind.Name(policy.kind)}",
        f"max_concurrent_invocations: {policy.max_concurrent_invocations}",
        f"max_batch_size: {policy.max_batch_size}",
    ]
    if policy.log_base:
        parts.append(f"log_base: {policy.log_base:.17g}")
    if policy.HasField("pending_timeout"):
        parts.append(f"pending_timeout: {_duration(policy.pending_timeout.ToTimedelta())}")
    return f"{{{', '.join(parts)}}}"


def _intake(job: Job) -> Iterator[str]:
    yield f"max_pending_triggers: {job.max_pending_triggers}"
    if job.overflow:
        yield f"overflow: {Job.Overflow.Name(job.overflow)}"
    if job.HasField("min_triage_interval"):
        yield f"min_triage_interval: {_duration(job.min_triage_interval.ToTimedelta())}"


def _usual(history: History) -> timedelta:
    took = [trigger.took for trigger in history.triggers if trigger.took is not None]
    return sorted(took)[len(took) // 2] if took else _SECOND


def _whole_second_after(at: datetime) -> datetime:
    return at.replace(microsecond=0) + _SECOND


def _duration(length: timedelta) -> str:
    """Exactly."""
    seconds, rest = divmod(length, _SECOND)
    return f"{seconds}.{rest.microseconds:06}".rstrip("0").rstrip(".") + "s"
