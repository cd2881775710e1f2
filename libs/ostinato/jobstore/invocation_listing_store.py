"""Invocations as people see them, active and finished alike, newest first (a smaller id is newer).

One statement reads both tables, so a row that moves from one to the other is seen exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row


@dataclass(frozen=True, slots=True)
class ListedTimer:
    """A pending one."""

    id: str
    title: str
    created_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class ListedInvocation:
    """`definition` is a serialized JobConfig, `incoming` and `outgoing` are TriggerLists, `result` is a Struct."""

    id: InvocationId
    job_id: int
    job_name: str
    job_uid: UUID
    status: InvocationStatus
    attempt: int
    launch_attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    scheduled_for: datetime | None
    triggered_by: str
    revision: str
    view_url: str
    error_reason: str
    error_message: str
    error_retryable: bool
    result: bytes | None
    outgoing: bytes | None
    definition: bytes
    incoming: bytes
    retry_of: InvocationId | None
    last_heartbeat_at: datetime | None
    timers: Sequence[ListedTimer]


@dataclass(frozen=True, slots=True)
class InvocationPage:
    invocations: list[ListedInvocation]
    more: bool


STATE_COLUMNS = (
    "invocation_id, job_id, status, attempt, launch_attempts, created_at, started_at, finished_at, scheduled_for, "
    "triggered_by, revision, view_url, error_reason, error_message, error_retryable, result, outgoing, "
    "retry_of, last_heartbeat_at"
)
INPUT_COLUMNS = """
    n.job_name, n.job_uid, n.definition, n.incoming,
    array(select row(t.timer_id::text, t.title, t.created_at, t.due_at)
            from invocation_timer t
           where t.invocation_id = n.invocation_id
           order by t.due_at, t.timer_id) as timers
"""

_FIND = f"""
select s.*, {INPUT_COLUMNS}
  from (select {STATE_COLUMNS} from invocation where invocation_id = $1
        union all
        select {STATE_COLUMNS} from invocation_history where invocation_id = $1) s
  join invocation_input n on n.invocation_id = $1
"""

# What a row weighs before it: sizes are known without reading values that are stored apart.
_PAGE = f"""
with page as materialized (
    select s.*
      from ((select {STATE_COLUMNS} from invocation
              where job_id = $1 and invocation_id > $2 order by invocation_id limit $3)
            union all
            (select {STATE_COLUMNS} from invocation_history
              where job_id = $1 and invocation_id > $2 order by invocation_id limit $3)) s
     order by s.invocation_id
     limit $3
), weighed as (
    select p.*, {INPUT_COLUMNS}, count(*) over () as found, row_number() over w as place,
           sum(coalesce(octet_length(p.result), 0) + coalesce(octet_length(p.outgoing), 0) + octet_length(n.incoming))
               over (w rows between unbounded preceding and 1 preceding) as bytes_before
      from page p
     cross join lateral (select * from invocation_input i where i.invocation_id = p.invocation_id offset 0) n
    window w as (order by p.invocation_id)
)
select * from weighed where place < $3 and coalesce(bytes_before, 0) <= $4 order by place
"""

_ACTIVE = f"""
select s.*, {INPUT_COLUMNS}
  from (select {STATE_COLUMNS} from invocation where job_id = $1 order by invocation_id limit $2) s
 cross join lateral (select * from invocation_input i where i.invocation_id = s.invocation_id offset 0) n
 order by s.invocation_id
"""


async def find_listed_invocation(reader: Reader, invocation_id: InvocationId) -> ListedInvocation | None:
    row = await reader.fetchrow(_FIND, invocation_id)
    return None if row is None else listed_from_row(row)


async def list_invocations(
    reader: Reader, job_id: int, *, after: InvocationId, limit: int, max_bytes: int
) -> InvocationPage:
    """Those of a job behind the id `after` (0: from the newest). A page of more than `max_bytes` ends early."""
    rows = await reader.fetch(_PAGE, job_id, after, limit + 1, max_bytes)
    more = bool(rows) and len(rows) < rows[0]["found"]
    return InvocationPage([listed_from_row(row) for row in rows], more)


async def list_active_invocations(reader: Reader, job_id: int, *, limit: int) -> list[ListedInvocation]:
    """Those that triage still counts, newest first: running, or ended and not acknowledged yet."""
    return [listed_from_row(row) for row in await reader.fetch(_ACTIVE, job_id, limit)]


async def find_job_of_invocation(reader: Reader, invocation_id: InvocationId) -> int | None:
    """The id of the job that an invocation belongs to, None if there is no such invocation."""
    job_id: int | None = await reader.fetchval(
        "select job_id from invocation where invocation_id = $1 "
        "union all select job_id from invocation_history where invocation_id = $1",
        invocation_id,
    )
    return job_id


async def find_running_invocations(reader: Reader, job_id: int) -> list[InvocationId]:
    """Ids of those of a job that have not ended."""
    rows = await reader.fetch(
        "select invocation_id from invocation where job_id = $1 and finished_at is null order by invocation_id", job_id
    )
    return [InvocationId(row["invocation_id"]) for row in rows]


# Of the newest of a job: where many run at once the one that ended last need not be the last that began.
_ENDED = """
select invocation_id
  from (select invocation_id, finished_at from invocation_history
         where job_id = $1 order by invocation_id limit 100) h
 where finished_at = $2
 order by invocation_id
 limit 1
"""


async def find_ended_invocation(reader: Reader, job_id: int, ended_at: datetime) -> InvocationId | None:
    """The one in the history that ended then, if it is among the job's newest."""
    found: int | None = await reader.fetchval(_ENDED, job_id, ended_at)
    return None if found is None else InvocationId(found)


def listed_from_row(row: Row) -> ListedInvocation:
    return ListedInvocation(
        id=InvocationId(row["invocation_id"]),
        job_id=row["job_id"],
        job_name=row["job_name"],
        job_uid=row["job_uid"],
        status=InvocationStatus(row["status"]),
        attempt=row["attempt"],
        launch_attempts=row["launch_attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        scheduled_for=row["scheduled_for"],
        triggered_by=row["triggered_by"],
        revision=row["revision"],
        view_url=row["view_url"],
        error_reason=row["error_reason"],
        error_message=row["error_message"],
        error_retryable=row["error_retryable"],
        result=row["result"],
        outgoing=row["outgoing"],
        definition=row["definition"],
        incoming=row["incoming"],
        retry_of=row["retry_of"],
        last_heartbeat_at=row["last_heartbeat_at"],
        timers=[ListedTimer(*timer) for timer in row["timers"]],
    )
