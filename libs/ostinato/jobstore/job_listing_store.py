"""Jobs as people see them: the row, when it is due next, how much of it runs, and who may do what with it.

One statement each, so that what is shown together was true together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobstore.job_store import COLUMNS, JobId, JobKey, JobRow, job_from_row
from ostinato.scheduling.names import job_name
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row


@dataclass(frozen=True, slots=True)
class JobView:
    """`bindings` are the project's, serialized. `active_invocations` counts runs that are not final.

    `slot` is the next that needs an outcome, at `due_at`, by the `schedule` and `terms` that are in force.
    """

    job: JobRow
    bindings: bytes
    due_at: datetime | None
    slot: datetime | None
    schedule: str
    terms: bytes
    active_invocations: int


# Finals leave `invocation` at the triage that follows, so the scan of a job's rows there is short.
_VIEW = f"""
select {COLUMNS}, p.bindings, c.due_at, c.slot, coalesce(c.schedule, '') as schedule, coalesce(c.terms, '') as terms,
       (select count(*) from invocation i where i.job_id = j.job_id and i.finished_at is null) as active_invocations
  from job j
  join project p on p.project_id = j.project_id
  left join job_cron c on c.job_id = j.job_id
"""

_FIND = f"""
{_VIEW}
 where (j.project, j.name) in (select k.project, k.name from unnest($1::text[], $2::text[]) k(project, name))
 order by j.project, j.name
"""

_FIND_ONE = f"{_VIEW} where j.project = $1 and j.name = $2"

# One short index scan per project, whatever lies between them.
_PAGE = f"""
with page as materialized (
    select found.job_id
      from unnest($1::text[], $2::boolean[]) v(project, everywhere)
     cross join lateral (
        select j.job_id, j.project, j.name
          from job j
         where j.project = v.project and (j.project, j.name) > ($3, $4) and j.enabled
           and (v.everywhere
                or exists (select from unnest($5::text[], $6::text[]) r(project, realm)
                            where r.project = j.project and r.realm = j.realm))
         order by j.name
         limit $7
     ) found
     order by found.project, found.name
     limit $7
)
{_VIEW}
 where j.job_id in (select job_id from page)
 order by j.project, j.name
"""


def _view_from_row(row: Row) -> JobView:
    return JobView(
        job=job_from_row(row),
        bindings=row["bindings"],
        due_at=row["due_at"],
        slot=row["slot"],
        schedule=row["schedule"],
        terms=row["terms"],
        active_invocations=row["active_invocations"],
    )


async def find_job_view(reader: Reader, key: JobKey) -> JobView | None:
    """Disabled ones too."""
    row = await reader.fetchrow(_FIND_ONE, *key)
    return None if row is None else _view_from_row(row)


async def find_job_views(reader: Reader, keys: Collection[JobKey]) -> list[JobView]:
    """Those that exist, disabled ones too, by project and name."""
    rows = await reader.fetch(_FIND, [project for project, _ in keys], [name for _, name in keys])
    return [_view_from_row(row) for row in rows]


@dataclass(frozen=True, slots=True)
class JobScope:
    """What it takes to know whether a job takes triggers and who may see it."""

    job_id: JobId
    project_id: int
    project: str
    name: str
    realm: str
    enabled: bool
    paused: bool
    bindings: bytes
    definition: bytes

    @property
    def resource_name(self) -> str:
        return job_name(self.project, self.name)


_SCOPE = """
select j.job_id, j.project_id, j.project, j.name, j.realm, j.enabled, j.paused, p.bindings, j.definition
  from unnest($1::text[], $2::text[]) k(project, name)
  join job j on j.project = k.project and j.name = k.name
  join project p on p.project_id = j.project_id
"""


async def find_job_scopes(reader: Reader, keys: Collection[JobKey]) -> dict[JobKey, JobScope]:
    """Those that exist, disabled ones too."""
    rows = await reader.fetch(_SCOPE, [project for project, _ in keys], [name for _, name in keys])
    return {(row["project"], row["name"]): JobScope(**dict(row)) for row in rows}


async def find_job_scope(reader: Reader, key: JobKey) -> JobScope | None:
    return (await find_job_scopes(reader, [key])).get(key)


@dataclass(frozen=True, slots=True)
class VisibleRealms:
    """Which jobs of a project are listed: those of these realms, or all."""

    everywhere: bool
    realms: frozenset[str]


async def list_job_views(
    reader: Reader, visible: Mapping[str, VisibleRealms], *, after: JobKey, limit: int
) -> list[JobView]:
    """Enabled jobs of the projects in `visible` behind the key `after`, by project and name.

    Costs a scan per project, so ask for a few dozen at a time.
    """
    named = [(project, realm) for project, scope in visible.items() for realm in scope.realms]
    rows = await reader.fetch(
        _PAGE,
        list(visible),
        [scope.everywhere for scope in visible.values()],
        *after,
        [project for project, _ in named],
        [realm for _, realm in named],
        limit,
    )
    return [_view_from_row(row) for row in rows]
