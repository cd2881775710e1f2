"""Table `job`: reading, locking, and the edits that config, pause and resume make.

The row of a job is the lock of everything about it (lock order: job, job_cron, invocation, queue rows).
What triage moves (`last_…`) is written by `triage_store`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NewType
from uuid import UUID

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx

JobId = NewType("JobId", int)
# (project, job id inside the project): what a resource name says.
JobKey = tuple[str, str]


class ManagedBy(IntEnum):
    """Who may edit the definition. Numbers as in the API."""

    CONFIG = 1
    API = 2


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of `job`. `definition` is a serialized JobConfig."""

    job_id: JobId
    project_id: int
    project: str
    name: str
    uid: UUID
    realm: str
    managed_by: ManagedBy
    definition: bytes
    enabled: bool
    paused: bool
    pause_reason: str
    paused_by: str
    paused_at: datetime | None
    revision: str
    revision_url: str
    version: int
    last_triage_at: datetime | None
    last_scheduled_at: datetime | None
    last_completed_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_status: InvocationStatus | None
    last_error: str
    created_at: datetime
    updated_at: datetime

    @property
    def resource_name(self) -> str:
        return f"projects/{self.project}/jobs/{self.name}"


COLUMNS = (
    "j.job_id, j.project_id, j.project, j.name, j.uid, j.realm, j.managed_by, j.definition, j.enabled, j.paused, "
    "j.pause_reason, j.paused_by, j.paused_at, j.revision, j.revision_url, j.version, j.last_triage_at, "
    "j.last_scheduled_at, j.last_completed_at, j.last_success_at, j.last_failure_at, j.last_status, j.last_error, "
    "j.created_at, j.updated_at"
)


def job_from_row(row: Row) -> JobRow:
    """Maps the columns of `COLUMNS`."""
    return JobRow(
        job_id=JobId(row["job_id"]),
        project_id=row["project_id"],
        project=row["project"],
        name=row["name"],
        uid=row["uid"],
        realm=row["realm"],
        managed_by=ManagedBy(row["managed_by"]),
        definition=row["definition"],
        enabled=row["enabled"],
        paused=row["paused"],
        pause_reason=row["pause_reason"],
        paused_by=row["paused_by"],
        paused_at=row["paused_at"],
        revision=row["revision"],
        revision_url=row["revision_url"],
        version=row["version"],
        last_triage_at=row["last_triage_at"],
        last_scheduled_at=row["last_scheduled_at"],
        last_completed_at=row["last_completed_at"],
        last_success_at=row["last_success_at"],
        last_failure_at=row["last_failure_at"],
        last_status=InvocationStatus(row["last_status"]) if row["last_status"] else None,
        last_error=row["last_error"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


_FIND = f"""
select {COLUMNS}
  from unnest($1::text[], $2::text[]) k(project, name)
  join job j on j.project = k.project and j.name = k.name
 order by j.job_id
"""


async def find_jobs(reader: Reader, keys: Collection[JobKey]) -> list[JobRow]:
    """Those of `keys` that exist, disabled ones too, in job_id order."""
    rows = await reader.fetch(_FIND, [project for project, _ in keys], [name for _, name in keys])
    return [job_from_row(row) for row in rows]


async def find_job(reader: Reader, key: JobKey) -> JobRow | None:
    found = await find_jobs(reader, [key])
    return found[0] if found else None


async def load_jobs_of_project(reader: Reader, project: str) -> list[JobRow]:
    """All of a project without locking, disabled ones too."""
    rows = await reader.fetch(f"select {COLUMNS} from job j where j.project = $1 order by j.job_id", project)
    return [job_from_row(row) for row in rows]


_LOCK = f"select {COLUMNS} from job j where j.job_id = any($1::bigint[]) order by j.job_id for no key update"


async def lock_jobs(tx: Tx, job_ids: Collection[int], *, skip_locked: bool = False) -> list[JobRow]:
    """Locks those that exist, in job_id order. With `skip_locked` the ones locked elsewhere are left out."""
    rows = await tx.fetch(f"{_LOCK} skip locked" if skip_locked else _LOCK, list(job_ids))
    return [job_from_row(row) for row in rows]


async def lock_job(tx: Tx, key: JobKey) -> JobRow | None:
    """Locks one job by name. The row read is the one that is locked."""
    row = await tx.fetchrow(f"select {COLUMNS} from job j where j.project = $1 and j.name = $2 for no key update", *key)
    return None if row is None else job_from_row(row)


@dataclass(frozen=True, slots=True)
class JobEdit:
    """What a stanza says about a job."""

    name: str
    realm: str
    definition: bytes


_INSERT = """
insert into job (project_id, project, name, realm, managed_by, definition, enabled, revision, revision_url,
                 created_at, updated_at)
select $1, $2, e.name, e.realm, $3, e.definition, true, $4, $5, $6, $6
  from unnest($7::text[], $8::text[], $9::bytea[]) e(name, realm, definition)
 order by e.name
returning job_id, name
"""


async def insert_jobs(
    tx: Tx,
    edits: Sequence[JobEdit],
    *,
    project_id: int,
    project: str,
    managed_by: ManagedBy,
    revision: str,
    revision_url: str,
    now: datetime,
) -> dict[str, JobId]:
    """New, enabled jobs. Ids by name."""
    rows = await tx.fetch(
        _INSERT, project_id, project, managed_by.value, revision, revision_url, now, *_columns_of(edits)
    )
    return {row["name"]: JobId(row["job_id"]) for row in rows}


_UPDATE = """
update job j
   set realm = e.realm, definition = e.definition, enabled = true, revision = $2, revision_url = $3,
       version = j.version + 1, updated_at = $4
  from unnest($5::text[], $6::text[], $7::bytea[]) e(name, realm, definition)
 where j.project = $1 and j.name = e.name
"""


async def redefine_jobs(
    tx: Tx, edits: Sequence[JobEdit], *, project: str, revision: str, revision_url: str, now: datetime
) -> None:
    """Gives locked jobs a new definition and enables them. `paused` stays what it was."""
    await tx.execute(_UPDATE, project, revision, revision_url, now, *_columns_of(edits))


async def disable_jobs(tx: Tx, job_ids: Collection[int], *, now: datetime) -> None:
    """Disables locked jobs. They keep their rows, so that a later config can bring them back."""
    await tx.execute(
        "update job set enabled = false, version = version + 1, updated_at = $2 where job_id = any($1::bigint[])",
        list(job_ids),
        now,
    )


_SET_PAUSED = f"""
update job j
   set paused = $2, pause_reason = $3, paused_by = $4, paused_at = $5, version = j.version + 1, updated_at = $5
 where j.job_id = $1
returning {COLUMNS}
"""


async def set_paused(tx: Tx, job_id: int, *, paused: bool, reason: str, by: str, now: datetime) -> JobRow:
    """Pauses or resumes a locked job; returns it as it is now."""
    row = await tx.fetchrow(_SET_PAUSED, job_id, paused, reason, by, now)
    assert row is not None, "the job is locked, so it exists"
    return job_from_row(row)


def _columns_of(edits: Sequence[JobEdit]) -> tuple[list[str], list[str], list[bytes]]:
    return [edit.name for edit in edits], [edit.realm for edit in edits], [edit.definition for edit in edits]
