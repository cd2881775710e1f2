"""Finds the jobs that a finished run triggers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ostinato.storage.database import Reader


@dataclass(frozen=True, slots=True)
class DownstreamJob:
    job_id: int
    project_id: int


_FIND = """
select j.project, j.name, j.job_id, j.project_id
  from unnest($1::text[], $2::text[]) as w(project, name)
  join job j on j.project = w.project and j.name = w.name
"""


async def find_downstream_jobs(
    reader: Reader, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], DownstreamJob]:
    """By (project, job); those that don't exist are left out."""
    rows = await reader.fetch(_FIND, [project for project, _ in names], [job for _, job in names])
    return {(row["project"], row["name"]): DownstreamJob(row["job_id"], row["project_id"]) for row in rows}
