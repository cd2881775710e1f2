"""Active invocations: read, and changed by compare-and-swap on their version.

`change_invocations` is the only statement that moves an invocation's state. It skips what has ended already or
has another version than the caller read, so finals absorb and a stale writer changes nothing.
`jobflow.finish_invocations` is its only caller.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx


@dataclass(frozen=True, slots=True)
class StoredInvocation:
    """What decisions about one invocation need."""

    id: InvocationId
    job_id: int
    project_id: int
    version: int
    status: InvocationStatus
    attempt: int
    launch_attempts: int
    created_at: datetime
    started_at: datetime | None
    scheduled_for: datetime | None
    last_heartbeat_at: datetime | None
    read_at: datetime  # the database's time when the row was read


@dataclass(frozen=True, slots=True)
class InvocationInput:
    """What the run was given when it was created; never changes."""

    job_name: str
    job_uid: UUID
    definition: bytes
    incoming: bytes


class InvocationUpdate(NamedTuple):
    """New values of one row. None keeps what is there; errors are always replaced."""

    invocation_id: InvocationId
    expected_version: int
    status: InvocationStatus
    ends: bool
    launches: int = 0  # 1: this begins a launch attempt
    error_reason: str = ""
    error_message: str = ""
    error_retryable: bool = False
    view_url: str | None = None
    result: bytes | None = None
    outgoing: bytes | None = None
    log_bytes: int = 0  # to add


class ChangedInvocation(NamedTuple):
    """A row after its update."""

    id: InvocationId
    job_id: int
    project_id: int
    version: int
    launch_attempts: int
    started_at: datetime | None
    changed_at: datetime
    log_bytes: int


_RUNNING = InvocationStatus.RUNNING.value
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")

_LOAD = """
select invocation_id, job_id, project_id, version, status, attempt, launch_attempts, created_at, started_at,
       scheduled_for, last_heartbeat_at, ostinato_now() as read_at
  from invocation
 where invocation_id = any($1::bigint[])
"""

_LOCK = f"""
{_LOAD}
   and finished_at is null
 order by invocation_id
   for no key update
"""

_LOAD_INPUTS = """
select invocation_id, job_name, job_uid, definition, incoming
  from invocation_input
 where invocation_id = any($1::bigint[])
"""

# Rows are locked in the order of their ids first, all of them: `locked` is read to its end before the update begins.
# So two sets that overlap can't deadlock. Each part is bounded by the ids, so no plan of it reads other rows.
_CHANGE = f"""
with wanted as (
    select *
      from unnest($1::bigint[], $2::int[], $3::smallint[], $4::boolean[], $5::smallint[], $6::text[], $7::text[],
                  $8::boolean[], $9::text[], $10::bytea[], $11::bytea[], $12::int[])
        as w(invocation_id, version, status, ends, launches, error_reason, error_message,
             error_retryable, view_url, result, outgoing, log_bytes)
), locked as materialized (
    select i.invocation_id
      from invocation i
     where i.invocation_id = any($1::bigint[])
     order by i.invocation_id
       for no key update
)
update invocation i
   set version = i.version + 1,
       status = w.status,
       launch_attempts = i.launch_attempts + w.launches,
       started_at = case when w.launches > 0 then coalesce(i.started_at, ostinato_now()) else i.started_at end,
       finished_at = case when w.ends then ostinato_now() end,
       error_reason = w.error_reason,
       error_message = w.error_message,
       error_retryable = w.error_retryable,
       view_url = coalesce(w.view_url, i.view_url),
       result = coalesce(w.result, i.result),
       outgoing = coalesce(w.outgoing, i.outgoing),
       log_bytes = i.log_bytes + w.log_bytes,
       last_heartbeat_at = case when w.status = {_RUNNING} and i.status <> {_RUNNING} then ostinato_now()
                                else i.last_heartbeat_at end
  from wanted w
 where (select count(*) from locked) > 0
   and i.invocation_id = any($1::bigint[]) and i.invocation_id = w.invocation_id
   and i.version = w.version and i.finished_at is null
returning i.invocation_id, i.job_id, i.project_id, i.version, i.launch_attempts, i.started_at,
          ostinato_now() as changed_at, i.log_bytes
"""

_SET_LOG_BYTES = "update invocation set log_bytes = $2 where invocation_id = $1"

# Rows are locked in the order of their ids, as above. No change of state, so the versions stay.
_TOUCH = """
with locked as materialized (
    select i.invocation_id
      from invocation i
     where i.invocation_id = any($1::bigint[]) and i.finished_at is null
     order by i.invocation_id
       for no key update
)
update invocation i
   set last_heartbeat_at = ostinato_now()
  from locked l
 where i.invocation_id = l.invocation_id and i.finished_at is null
"""

_LOAD_ENDED = """
select w.invocation_id
  from unnest($1::bigint[]) as w(invocation_id)
  left join invocation i on i.invocation_id = w.invocation_id
 where i.invocation_id is null or i.finished_at is not null
"""


async def load_invocations(reader: Reader, ids: Collection[InvocationId]) -> dict[InvocationId, StoredInvocation]:
    """Those of `ids` that exist and are not in the history yet."""
    rows = await reader.fetch(_LOAD, list(ids))
    return {found.id: found for found in map(invocation_from_row, rows)}


async def lock_invocations(tx: Tx, ids: Collection[InvocationId]) -> dict[InvocationId, StoredInvocation]:
    """Locks those of `ids` that have not ended."""
    return {found.id: found for found in map(invocation_from_row, await tx.fetch(_LOCK, list(ids)))}


async def load_invocation_inputs(reader: Reader, ids: Collection[InvocationId]) -> dict[InvocationId, InvocationInput]:
    rows = await reader.fetch(_LOAD_INPUTS, list(ids))
    return {
        InvocationId(row["invocation_id"]): InvocationInput(
            row["job_name"], row["job_uid"], row["definition"], row["incoming"]
        )
        for row in rows
    }


async def load_ended(reader: Reader, ids: Collection[InvocationId]) -> set[InvocationId]:
    """Those of `ids` that are final, in the history or gone."""
    return {InvocationId(row["invocation_id"]) for row in await reader.fetch(_LOAD_ENDED, list(ids))}


async def change_invocations(tx: Tx, updates: Sequence[InvocationUpdate]) -> list[ChangedInvocation]:
    """Applies what still has the expected version and has not ended; returns the rows that were changed."""
    rows = await tx.fetch(
        _CHANGE,
        [update.invocation_id for update in updates],
        [update.expected_version for update in updates],
        [update.status for update in updates],
        [update.ends for update in updates],
        [update.launches for update in updates],
        [storable(update.error_reason) for update in updates],
        [storable(update.error_message) for update in updates],
        [update.error_retryable for update in updates],
        [update.view_url for update in updates],
        [update.result for update in updates],
        [update.outgoing for update in updates],
        [update.log_bytes for update in updates],
    )
    return [_changed(row) for row in rows]


async def set_log_bytes(tx: Tx, invocation_id: InvocationId, log_bytes: int) -> None:
    """After the log was cut. No change of state, so the version stays."""
    await tx.execute(_SET_LOG_BYTES, invocation_id, log_bytes)


async def touch_heartbeats(tx: Tx, ids: Collection[InvocationId]) -> None:
    """Notes a sign of life, now, of those of `ids` that have not ended."""
    if ids:
        await tx.execute(_TOUCH, list(ids))


def storable(text: str) -> str:
    """What a target answered may hold what PostgreSQL's text does not: NUL, and halves of surrogate pairs."""
    return _NOT_STORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def invocation_from_row(row: Row) -> StoredInvocation:
    return StoredInvocation(
        id=InvocationId(row["invocation_id"]),
        job_id=row["job_id"],
        project_id=row["project_id"],
        version=row["version"],
        status=InvocationStatus(row["status"]),
        attempt=row["attempt"],
        launch_attempts=row["launch_attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        scheduled_for=row["scheduled_for"],
        last_heartbeat_at=row["last_heartbeat_at"],
        read_at=row["read_at"],
    )


def _changed(row: Row) -> ChangedInvocation:
    return ChangedInvocation(
        id=InvocationId(row["invocation_id"]),
        job_id=row["job_id"],
        project_id=row["project_id"],
        version=row["version"],
        launch_attempts=row["launch_attempts"],
        started_at=row["started_at"],
        changed_at=row["changed_at"],
        log_bytes=row["log_bytes"],
    )
