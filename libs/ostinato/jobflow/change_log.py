"""What the log of an invocation says about a change of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ostinato.jobflow.invocation_change import ChangePlan
from ostinato.jobstore.invocation_log_store import LogEntry, LogLine, append_log_lines, cut_long_logs
from ostinato.jobstore.invocation_store import ChangedInvocation, set_log_bytes
from ostinato.jobstore.timer_store import StoredTimer
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.retrying import next_attempt
from ostinato.scheduling.trigger import MAX_WAITING
from ostinato.storage.transaction import Tx

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Followed:
    """What the log says of what followed: downstream jobs that don't exist, names of runs that their jobs have no room
    to retry, timers that were set and dropped.
    """

    missing: Collection[tuple[str, str]]
    unretried: Collection[str]
    set_timers: Sequence[StoredTimer]
    dropped_timers: Sequence[StoredTimer]

    def about_timers(self) -> Mapping[InvocationId, Sequence[str]]:
        told: dict[InvocationId, list[str]] = {}
        for what, timers in (("set", self.set_timers), ("dropped", self.dropped_timers)):
            for timer in timers:
                told.setdefault(timer.invocation_id, []).append(f"Timer {what}: {timer.title}")
        return told


async def write_change_log(
    tx: Tx,
    plans: Sequence[ChangePlan],
    applied: Mapping[InvocationId, ChangedInvocation],
    followed: Followed,
) -> None:
    about_timers = followed.about_timers()
    entries = [_log_entry(plan, applied[plan.change.invocation.id], followed, about_timers) for plan in plans]
    await append_log_lines(tx, entries)
    # What is said beyond the change's own lines is not counted in the row yet.
    beyond = [entry.lines[len(plan.change.log_lines) :] for entry, plan in zip(entries, plans, strict=True)]
    told = {entry.invocation_id: sum(line.size for line in lines) for entry, lines in zip(entries, beyond, strict=True)}
    sizes = {row.id: row.log_bytes + told[row.id] for row in applied.values()}
    for plan in plans:
        run = plan.change.invocation.id
        if told[run] and not plan.ends:  # what has ended is never written to again
            await set_log_bytes(tx, run, sizes[run])
    await cut_long_logs(tx, sizes)


def _log_entry(
    plan: ChangePlan,
    row: ChangedInvocation,
    followed: Followed,
    about_timers: Mapping[InvocationId, Sequence[str]],
) -> LogEntry:
    told = [f"Job {job} does not exist, so it is not triggered" for job in _absent(plan, followed.missing)]
    told += about_timers.get(row.id, ())
    if plan.ends:
        told.append(_last_words(plan.change.to_status, row))
    if plan.retry_after is not None:
        told.append(_about_retry(plan, plan.retry_after, refused=plan.name in followed.unretried))
    return LogEntry(row.id, row.version, [*plan.change.log_lines, *(LogLine(row.changed_at, text) for text in told)])


def _about_retry(plan: ChangePlan, after: timedelta, *, refused: bool) -> str:
    if refused:
        _log.warning("%s is not tried again: %d retries of its job wait already", plan.name, MAX_WAITING)
        return f"It is not tried again: {MAX_WAITING} retries of the job wait already"
    attempt = next_attempt(plan.change.invocation.attempt)
    return f"Attempt {attempt} of {plan.max_attempts} follows in {after.total_seconds():.3f} s at the earliest"


def _absent(plan: ChangePlan, missing: Collection[tuple[str, str]]) -> Iterable[str]:
    return (job for project, job in plan.receivers if (project, job) in missing)


def _last_words(status: InvocationStatus, row: ChangedInvocation) -> str:
    if row.started_at is None:
        return f"Ended with status {status.name} before it was launched"
    seconds = (row.changed_at - row.started_at).total_seconds()
    return f"Ended with status {status.name} after {seconds:.3f} s"
