"""What the database holds in the end, read once: runs with their triggers, the ledger, whatever still waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from chaos.target import END_LINE
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.testing.invariants import find_violations


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation."""

    id: int
    job: str
    status: InvocationStatus
    triggers: Sequence[Trigger]
    scheduled_for: datetime | None

    @property
    def name(self) -> str:
        return f"projects/chaos/jobs/{self.job}/invocations/{self.id}"

    @property
    def repeats_another(self) -> bool:
        """A retry carries the triggers of the run that it repeats."""
        return bool(self.triggers) and self.triggers[0].WhichOneof("payload") == "retry"


@dataclass(frozen=True, slots=True)
class Slots:
    """A row of the ledger: slots [start, end), or the one at `start`."""

    start: datetime
    end: datetime | None
    run_id: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """By job: `ledger`, and `planned`, from when until when its schedule was in force."""

    runs: Sequence[Run]
    doubly_stored: Sequence[int]
    ends_logged: Mapping[int, int]
    ledger: Mapping[str, Sequence[Slots]]
    planned: Mapping[str, tuple[datetime, datetime]]
    waiting: Mapping[str, int]


_RUNS = """
select r.invocation_id, j.name, r.status, r.scheduled_for, n.incoming
  from (select invocation_id, job_id, status, scheduled_for from invocation
         union all
        select invocation_id, job_id, status, scheduled_for from invocation_history) r
  join job j using (job_id)
  join invocation_input n using (invocation_id)
"""
_DOUBLY_STORED = "select invocation_id from invocation join invocation_history using (invocation_id)"
_ENDS_LOGGED = f"select invocation_id, count(*) from invocation_log where line like '{END_LINE}%' group by 1"
_LEDGER = "select j.name, o.slot, o.until_slot, o.invocation_id from occurrence o join job j using (job_id) order by 2"
_PLANNED = """
select j.name, min(s.from_at) filter (where not s.paused), min(s.from_at) filter (where s.paused)
  from job_schedule_span s
  join job j using (job_id)
 where s.from_at >= (select max(p.from_at) from job_schedule_span p where p.job_id = s.job_id and not p.paused)
 group by 1
having bool_or(s.paused)
"""
_WAITING = """
select 'runs that have not ended', count(*) from invocation where finished_at is null
 union all select 'ended runs that no triage has seen', count(*) from invocation where finished_at is not null
 union all select 'pending triggers', count(*) from trigger where consumed_at is null
 union all select 'ready tasks', count(*) from tq_ready where claimed_by = 0
 union all select 'claimed tasks', count(*) from tq_ready where claimed_by <> 0
 union all select 'later tasks', count(*) from tq_later
 union all select 'dead letters', count(*) from tq_dead
 union all select 'reminders', count(*) from tq_reminder
 union all select 'parked reminders', count(*) from tq_parked_reminder
"""


async def what_waits(url: str) -> dict[str, int]:
    """Names of what is not finished, with how many of each; only those that there are."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return {row[0]: row[1] for row in await connection.fetch(_WAITING) if row[1]}
    finally:
        await connection.close()


async def find_contradictions(url: str, *, tasks_elsewhere: bool = False) -> list[str]:
    """What no commit may leave behind, at this moment. `tasks_elsewhere`: they wait in Cloud Tasks."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await find_violations(connection, tasks_elsewhere=tasks_elsewhere)
    finally:
        await connection.close()


async def collect(url: str) -> Evidence:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        ledger: dict[str, list[Slots]] = {}
        for name, start, end, run_id in await connection.fetch(_LEDGER):
            ledger.setdefault(name, []).append(Slots(start, end, run_id))
        return Evidence(
            runs=[_run(row) for row in await connection.fetch(_RUNS)],
            doubly_stored=[row[0] for row in await connection.fetch(_DOUBLY_STORED)],
            ends_logged={row[0]: row[1] for row in await connection.fetch(_ENDS_LOGGED)},
            ledger=ledger,
            planned={row[0]: (row[1], row[2]) for row in await connection.fetch(_PLANNED)},
            waiting={row[0]: row[1] for row in await connection.fetch(_WAITING) if row[1]},
        )
    finally:
        await connection.close()


def _run(row: asyncpg.Record) -> Run:
    run_id, job, status, scheduled_for, incoming = row
    return Run(run_id, job, InvocationStatus(status), list(TriggerList.FromString(incoming).triggers), scheduled_for)
