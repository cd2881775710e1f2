"""Table `project`: who may do what in a project, and which revision of its config is in force.

The row is the lock under which configs of one project are applied one after the other. It is taken before any
job's (lock order: project, job, job_cron, invocation, queue rows).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """`bindings` is a serialized ProjectConfig that carries only bindings."""

    project_id: int
    name: str
    bindings: bytes
    revision: str
    revision_url: str
    created_at: datetime
    updated_at: datetime

    @property
    def resource_name(self) -> str:
        return f"projects/{self.name}"


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    project: ProjectRow
    enabled_jobs: int


_COLUMNS = "p.project_id, p.name, p.bindings, p.revision, p.revision_url, p.created_at, p.updated_at"


def _project_from_row(row: Row) -> ProjectRow:
    return ProjectRow(
        project_id=row["project_id"],
        name=row["name"],
        bindings=row["bindings"],
        revision=row["revision"],
        revision_url=row["revision_url"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def find_project(reader: Reader, name: str) -> ProjectRow | None:
    row = await reader.fetchrow(f"select {_COLUMNS} from project p where p.name = $1", name)
    return None if row is None else _project_from_row(row)


async def load_projects(reader: Reader, names: Collection[str] | None = None) -> list[ProjectRow]:
    """Those of `names` that exist, or all of them, by name."""
    rows = await reader.fetch(
        f"select {_COLUMNS} from project p where $1::text[] is null or p.name = any($1) order by p.name",
        None if names is None else list(names),
    )
    return [_project_from_row(row) for row in rows]


_SUMMARIZE = f"""
select {_COLUMNS},
       (select count(*) from job j where j.project = p.name and j.enabled) as enabled_jobs
  from project p
 where p.name = any($1::text[])
 order by p.name
"""


async def summarize_projects(reader: Reader, names: Collection[str]) -> list[ProjectSummary]:
    """By name."""
    rows = await reader.fetch(_SUMMARIZE, list(names))
    return [ProjectSummary(_project_from_row(row), row["enabled_jobs"]) for row in rows]


async def lock_project(tx: Tx, name: str) -> ProjectRow | None:
    row = await tx.fetchrow(f"select {_COLUMNS} from project p where p.name = $1 for no key update", name)
    return None if row is None else _project_from_row(row)


async def create_project(tx: Tx, name: str) -> None:
    """Makes an empty project where there is none; waits for whoever is making it at this moment."""
    await tx.execute(
        "insert into project (name, created_at, updated_at) values ($1, ostinato_now(), ostinato_now()) "
        "on conflict (name) do nothing",
        name,
    )


_CONFIGURE = "update project set bindings = $2, revision = $3, revision_url = $4, updated_at = $5 where project_id = $1"


async def configure_project(
    tx: Tx, project_id: int, *, bindings: bytes, revision: str, revision_url: str, now: datetime
) -> None:
    """What a new config says of a locked project."""
    await tx.execute(_CONFIGURE, project_id, bindings, revision, revision_url, now)
