"""Work that nothing will carry on, found in one snapshot of the database. The rules that need more than SQL.

What carries a job on is a triage task (a *kick*), the end of an active invocation, which adds a kick, or a due time.
What carries an invocation on is its launch task, or its deadline; its end is carried on by a kick of its job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import asyncpg
from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.jobflow.engine_tasks import LAUNCH_INVOCATION, TRIAGE_JOB
from ostinato.jobflow.poke_cron import TRIGGERED
from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.jobstore.schedule_terms_codec import encode_terms
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.scheduling.cron_machine import CronState
from ostinato.scheduling.deadline import RunTimeouts
from ostinato.scheduling.invocation import InvocationStatus, is_final, is_initial
from ostinato.scheduling.job_definition import DEFAULT_TIMEOUT, JobDefinition
from ostinato.scheduling.schedule import CatchUpPolicy, ScheduleError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_TASKS = """
select t.id, c.name, t.payload
  from (select id, class_id, payload from tq_ready union all select id, class_id, payload from tq_later) t
  join tq_class c using (class_id)
 where c.name = any($1::text[])
"""
_JOBS = """
select j.job_id, j.name, j.enabled, j.paused, j.definition, c.enabled as cron_enabled, c.schedule, c.terms,
       c.job_name, c.generation, c.last_rewind_at, c.slot, c.due_at
  from job j left join job_cron c using (job_id)
"""
_ACTIVE = """
select i.invocation_id, i.job_id, i.status, i.launch_task_id, i.created_at, i.started_at,
       i.last_heartbeat_at, i.deadline_at, n.definition
  from invocation i left join invocation_input n using (invocation_id)
 order by i.created_at desc, i.invocation_id
"""
_PENDING = """
select job_id, min(trigger_id) filter (where not_before is null) as plain,
       min(trigger_id) filter (where not_before <= (select ostinato_now())) as due,
       min(trigger_id) filter (where not_before > (select ostinato_now())) as early
  from trigger
 where consumed_at is null
 group by job_id
"""


@dataclass(frozen=True, slots=True)
class _Active:
    id: int
    status: InvocationStatus
    launch_task_id: int
    created_at: datetime
    started_at: datetime | None
    last_heartbeat_at: datetime | None
    deadline_at: datetime
    definition: JobDefinition | None  # None: it can't be read


@dataclass(frozen=True, slots=True)
class _Pending:
    """One trigger of each sort that waits. Those that get a run of their own are `due`, or `early` for it."""

    plain: str | None = None
    due: str | None = None
    early: str | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """`kicked`: a triage task of it is in the queue, due, delayed or claimed. Newest invocations first."""

    id: int
    name: str
    enabled: bool
    paused: bool
    definition: JobDefinition | None
    cron: CronState | None
    schedule: str | None  # of the cron row
    terms: bytes
    name_in_full: str
    pending: _Pending
    kicked: bool
    active: Sequence[_Active] = field(default_factory=list)

    def __str__(self) -> str:
        return f"job {self.id} ({self.name})"

    @property
    def running(self) -> list[_Active]:
        return [invocation for invocation in self.active if not is_final(invocation.status)]

    @property
    def wanted_schedule(self) -> str | None:
        if self.definition is None:
            return None
        return TRIGGERED if self.paused and not self.is_held else self.definition.schedule

    @property
    def wanted_terms(self) -> bytes:
        if self.definition is None or (self.paused and not self.is_held):
            return b""
        return encode_terms(self.definition.terms)

    @property
    def is_held(self) -> bool:
        """Paused, and it makes up for the slots of this time."""
        makes_up = self.definition is not None and self.definition.terms.catch_up.policy is not CatchUpPolicy.SKIP
        return self.paused and makes_up


@dataclass(frozen=True, slots=True)
class _Picture:
    now: datetime
    task_ids: frozenset[int] | None  # of launches; None: they are elsewhere
    jobs: Sequence[_Job]


async def find_standstill(connection: Connection, *, tasks_elsewhere: bool = False) -> list[str]:
    """A sentence for each; `connection` is in a transaction that reads one snapshot.

    `tasks_elsewhere`: they wait where this can't look; each that there could be is believed to be there.
    """
    picture = await _load(connection, tasks_elsewhere=tasks_elsewhere)
    return [
        sentence
        for job in picture.jobs
        for sentence in (
            *_of_invocations(job, picture),
            *_of_pending(job),
            *_of_limit(job),
            *_of_schedule(job, picture.now),
        )
    ]


def _of_invocations(job: _Job, picture: _Picture) -> Iterator[str]:
    for invocation in job.active:
        name = f"invocation {invocation.id} of {job}"
        if is_final(invocation.status):
            if not job.kicked:
                yield f"{name} has ended and no triage will acknowledge it"
            continue
        launches = picture.task_ids is None or invocation.launch_task_id in picture.task_ids
        if is_initial(invocation.status) and not launches:
            yield f"{name} is {invocation.status.name} and its launch task {invocation.launch_task_id} is gone"
        latest = _latest_deadline(invocation, picture.now)
        if invocation.deadline_at > latest:
            yield f"{name} has its deadline at {invocation.deadline_at}, no later than {latest} was expected"


def _latest_deadline(invocation: _Active, now: datetime) -> datetime:
    """A deadline is set at the creation and moved when it is looked at, each time to when the run may be over at the
    earliest: its timeout after its begin, or its heartbeat timeout after a sign of life.
    """
    timeouts = RunTimeouts(DEFAULT_TIMEOUT) if invocation.definition is None else invocation.definition.timeouts
    begun = (now, invocation.created_at, invocation.started_at or now, invocation.last_heartbeat_at or now)
    return max(begun) + timeouts.shortest


def _of_pending(job: _Job) -> Iterator[str]:
    """A kick looks at everything, but a kick may be what is missing."""
    if job.kicked:
        return
    starts = job.enabled and not job.paused
    is_full = starts and len(job.running) >= _limit(job.definition)  # the end of any of them brings a triage
    is_paused = job.enabled and job.paused  # the resume brings one
    for trigger, waits in (
        (job.pending.plain, is_full),
        (job.pending.due, is_full or is_paused),
        (job.pending.early, is_full or is_paused),
    ):
        if trigger is not None and not waits:
            yield f"trigger {trigger} of {job} is pending and no triage will look at it"


def _of_limit(job: _Job) -> Iterator[str]:
    """When the newest one was created, all that run today ran already: its definition allowed that many."""
    running = job.running
    limit = _limit(running[0].definition) if running and running[0].definition else len(running)
    if len(running) > limit:
        yield f"{len(running)} invocations of {job} run, {limit} may: {[invocation.id for invocation in running]}"


def _limit(definition: JobDefinition | None) -> int:
    return 0 if definition is None else definition.policy.max_concurrent_invocations


def _of_schedule(job: _Job, now: datetime) -> Iterator[str]:
    wanted = job.wanted_schedule
    if wanted is None:
        return
    if job.cron is None or job.schedule is None:
        if job.enabled and wanted != TRIGGERED:
            yield f"{job} has no cron row, its schedule is {wanted!r}"
        return
    if job.enabled != job.cron.enabled:
        yield f"{job} is {'enabled' if job.enabled else 'disabled'}, its cron row is not"
    elif job.enabled and job.schedule != wanted:
        yield f"the cron row of {job} follows {job.schedule!r} instead of {wanted!r}"
    elif job.enabled and job.terms != job.wanted_terms:
        yield f"the cron row of {job} has other terms than its definition"
    elif job.cron.slot is not None and job.cron.is_held != job.is_held:
        yield f"the slot of {job} is {'held' if job.cron.is_held else 'not held'}, and should be otherwise"
    elif job.enabled and job.cron.slot is None and _plans_nothing(job, job.cron, job.schedule, now):
        yield f"the schedule {job.schedule!r} of {job} goes on, but nothing is planned"


def _plans_nothing(job: _Job, cron: CronState, text: str, now: datetime) -> bool:
    try:
        schedule = cached_timetable(text, job.terms, job.name_in_full)
    except ScheduleError:
        return False  # another release's
    if cron.waits_for_rewind and not schedule.is_absolute:
        return not job.kicked and not job.running  # the triage after the last end plans the next slot
    return schedule.plan_after(now, last_rewind_at=cron.last_rewind_at) is not None


async def _load(connection: Connection, *, tasks_elsewhere: bool) -> _Picture:
    tasks = await connection.fetch(_TASKS, [TRIAGE_JOB.name, LAUNCH_INVOCATION.name])
    kicked = {_job_of(task["payload"]) for task in tasks if task["name"] == TRIAGE_JOB.name}
    waiting = await connection.fetch(_PENDING)
    pending = {row["job_id"]: _Pending(row["plain"], row["due"], row["early"]) for row in waiting}
    active: dict[int, list[_Active]] = {}
    for row in await connection.fetch(_ACTIVE):
        active.setdefault(row["job_id"], []).append(_active_from_row(row))
    rows = await connection.fetch(_JOBS)
    kicked |= {row["job_id"] for row in rows if tasks_elsewhere}
    launches = frozenset(task["id"] for task in tasks if task["name"] == LAUNCH_INVOCATION.name)
    return _Picture(
        now=await connection.fetchval("select ostinato_now()"),
        task_ids=None if tasks_elsewhere else launches,
        jobs=[_job_from_row(row, pending, kicked, active) for row in rows],
    )


def _job_of(payload: bytes) -> int | None:
    try:
        return TriageJobTask.FromString(payload).job_id
    except DecodeError:
        return None  # it carries nothing on


def _active_from_row(row: asyncpg.Record) -> _Active:
    return _Active(
        id=row["invocation_id"],
        status=InvocationStatus(row["status"]),
        launch_task_id=row["launch_task_id"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        last_heartbeat_at=row["last_heartbeat_at"],
        deadline_at=row["deadline_at"],
        definition=_definition_of(row["definition"]),
    )


def _job_from_row(
    row: asyncpg.Record,
    pending: Mapping[int, _Pending],
    kicked: set[int | None],
    active: Mapping[int, Sequence[_Active]],
) -> _Job:
    job_id = row["job_id"]
    return _Job(
        id=job_id,
        name=row["name"],
        enabled=row["enabled"],
        paused=row["paused"],
        definition=_definition_of(row["definition"]),
        cron=_cron_state(row),
        schedule=row["schedule"],
        terms=row["terms"] or b"",
        name_in_full=row["job_name"] or "",
        pending=pending.get(job_id, _Pending()),
        kicked=job_id in kicked,
        active=active.get(job_id, ()),
    )


def _cron_state(row: asyncpg.Record) -> CronState | None:
    if row["schedule"] is None:
        return None
    return CronState(row["cron_enabled"], row["generation"], row["last_rewind_at"], row["slot"], row["due_at"])


def _definition_of(data: bytes | None) -> JobDefinition | None:
    try:
        return None if data is None else decode_definition(data)
    except (DecodeError, InvalidArgument, ValueError, OverflowError):
        return None
