"""Loads what a triage of locked jobs must see, in a few statements however many jobs there are.

Most jobs have a handful of pending triggers: the first statement reads that much of each. Of the others it is
counted how many there are, and only as many of the oldest are read as their triage can start or drop. What would
not fit into memory with the rest waits for a later batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobstore.triage_store import ActiveRow, TriagedJobRow, load_active
from ostinato.jobstore.trigger_store import StoredTrigger, Wanted, count_pending, load_pending
from ostinato.scheduling.invocation import is_final
from ostinato.scheduling.triage import ActiveInvocation, TriageSnapshot
from ostinato.scheduling.triage_window import triage_window, triggers_wanted
from ostinato.scheduling.validate_job import MAX_CONCURRENT_INVOCATIONS, MAX_PENDING_TRIGGERS
from ostinato.storage.transaction import Tx
from ostinato_engine.job_terms import JobTerms, JobTermsCache

_PEEK = 32
_MOST_OF_ONE_JOB = 5_000
_MOST_OF_A_BATCH = 20_000
_MOST_WAITING = MAX_CONCURRENT_INVOCATIONS + 1
# Beyond that a triage only drops, and is repeated.
_COUNT_UP_TO = MAX_PENDING_TRIGGERS + _MOST_OF_ONE_JOB + 1


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A locked job with its snapshot. `stored` and `waiting`: its triggers with the addresses of their rows."""

    row: TriagedJobRow
    terms: JobTerms
    active: Sequence[ActiveRow]
    stored: Sequence[StoredTrigger]
    waiting: Sequence[StoredTrigger]
    snapshot: TriageSnapshot

    @property
    def all_stored(self) -> Sequence[StoredTrigger]:
        return [*self.stored, *self.waiting] if self.waiting else self.stored

    @property
    def more_waiting_to_drop(self) -> bool:
        """Of a disabled job all are dropped, so many at a time."""
        return not self.snapshot.enabled and len(self.waiting) == _MOST_WAITING


@dataclass(frozen=True, slots=True)
class Loading:
    """`postponed`: ids of jobs that this batch has no room for."""

    jobs: list[LoadedJob]
    postponed: set[int]


@dataclass(frozen=True, slots=True)
class _Pending:
    """The oldest pending triggers of a job, and how many more there are."""

    oldest: Sequence[StoredTrigger] = ()
    more: int = 0


_NOTHING = _Pending()


async def load_jobs(
    tx: Tx, rows: Sequence[TriagedJobRow], cache: JobTermsCache, due: Mapping[int, datetime]
) -> Loading:
    """`rows` are locked; those that come first have the first claim to room.

    `due`: when the latest of the tasks was due that asked for the triage of a job.
    """
    terms = {row.job_id: cache.of(row) for row in rows}
    active = await load_active(tx, [row.job_id for row in rows])
    read = await load_pending(tx, {row.job_id: Wanted(_PEEK, _waiting_wanted(row, terms[row.job_id])) for row in rows})
    now = await tx.now()
    peeked = {job_id: of_job.oldest for job_id, of_job in read.items()}
    pending = {job_id: _Pending(oldest) for job_id, oldest in peeked.items() if len(oldest) < _PEEK}
    deep = [row for row in rows if len(peeked.get(row.job_id, ())) == _PEEK]
    postponed: set[int] = set()
    if deep:
        wanted: dict[int, int | None] = {
            row.job_id: _wanted(row, terms[row.job_id], active.get(row.job_id, ())) for row in deep
        }
        caps: dict[int, int] = {row.job_id: terms[row.job_id].intake.max_pending for row in deep}
        postponed = await _load_deep(tx, wanted, caps, peeked, pending)
    return Loading(
        [
            _loaded(
                row,
                terms[row.job_id],
                active.get(row.job_id, ()),
                pending.get(row.job_id, _NOTHING),
                read[row.job_id].waiting if row.job_id in read else (),
                now=now,
                due_at=due[row.job_id],
            )
            for row in rows
            if row.job_id not in postponed
        ],
        postponed,
    )


async def _load_deep(
    tx: Tx,
    wanted: Mapping[int, int | None],
    caps: Mapping[int, int],
    peeked: Mapping[int, Sequence[StoredTrigger]],
    pending: dict[int, _Pending],
) -> set[int]:
    """Completes `pending` for jobs with many triggers; returns those it had no room for."""
    counts = await count_pending(tx, wanted, most=_COUNT_UP_TO)
    windows: dict[int, int] = {}
    postponed: set[int] = set()
    for job_id, startable in wanted.items():
        count = counts[job_id]
        window = triage_window(pending=count, wanted=startable, max_pending=caps[job_id], most=_MOST_OF_ONE_JOB)
        if windows and sum(windows.values()) + window > _MOST_OF_A_BATCH:
            postponed.add(job_id)
        elif window > _PEEK:
            windows[job_id] = window
        else:
            pending[job_id] = _Pending(peeked[job_id], count - _PEEK)
    wider = {job_id: Wanted(window) for job_id, window in windows.items()}
    for job_id, of_job in (await load_pending(tx, wider) if wider else {}).items():
        pending[job_id] = _Pending(of_job.oldest, counts[job_id] - len(of_job.oldest))
    return postponed


def _wanted(row: TriagedJobRow, terms: JobTerms, active: Sequence[ActiveRow]) -> int | None:
    running = sum(not is_final(invocation.status) for invocation in active)
    return triggers_wanted(
        terms.policy,
        still_active=running,
        takes_triggers=row.enabled and not row.paused,
        max_pending=terms.intake.max_pending,
    )


def _waiting_wanted(row: TriagedJobRow, terms: JobTerms) -> int:
    """Those that may start, and one more that may have to be waited for; all of a disabled job are dropped."""
    return terms.policy.max_concurrent_invocations + 1 if row.enabled else _MOST_WAITING


def _planned_wake(row: TriagedJobRow, now: datetime, due_at: datetime) -> datetime | None:
    """When the task is due that an earlier triage added, if it is neither overdue nor among those of this triage."""
    return None if row.wake_at is None or row.wake_at <= max(now, due_at) else row.wake_at


def _start_not_before(row: TriagedJobRow, terms: JobTerms) -> datetime | None:
    if row.last_start_at is None or not terms.intake.min_interval:
        return None
    return row.last_start_at + terms.intake.min_interval


def _loaded(
    row: TriagedJobRow,
    terms: JobTerms,
    active: Sequence[ActiveRow],
    pending: _Pending,
    waiting: Sequence[StoredTrigger],
    *,
    now: datetime,
    due_at: datetime,
) -> LoadedJob:
    snapshot = TriageSnapshot(
        now=now,
        enabled=row.enabled,
        paused=row.paused,
        policy=terms.policy,
        triggers=[stored.trigger for stored in pending.oldest],
        active=[ActiveInvocation(invocation.invocation_id, invocation.status) for invocation in active],
        max_pending=terms.intake.max_pending,
        more_pending=pending.more,
        waiting=[stored.trigger for stored in waiting],
        wake_planned_at=_planned_wake(row, now, due_at),
        start_not_before=_start_not_before(row, terms),
        start_limit=terms.start_limit,
    )
    return LoadedJob(row, terms, active, pending.oldest, waiting, snapshot)
