"""What the jobs of one project may say together: ids once each, downstream jobs that exist, no cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ostinato.errors import Violation
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.names import is_job_id
from ostinato.scheduling.validate_job import downstream_paths_of, validate_job
from ostinato.scheduling.validate_schedule import FindZone, only_utc

MAX_JOBS = 10_000

# A longer cycle is shown with its middle left out.
_MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Edge:
    """A job names another; `path` is where."""

    to: str
    path: str


def validate_project(
    jobs: Sequence[JobDefinition],
    paths: Sequence[str],
    *,
    project: str = "",
    find_zone: FindZone = only_utc,
    downstream_paths: Sequence[Sequence[str]] | None = None,
) -> list[Violation]:
    """Every violation of `validate_job`, then those that show only in the jobs together. Arguments are parallel."""
    given = [None] * len(jobs) if downstream_paths is None else downstream_paths
    violations = [Violation("jobs", f"must be at most {MAX_JOBS}")] if len(jobs) > MAX_JOBS else []
    edges: dict[str, list[_Edge]] = {}
    for job, path, entry_paths in zip(jobs, paths, given, strict=True):
        violations += validate_job(job, path, project=project, find_zone=find_zone, downstream_paths=entry_paths)
        targets = zip(job.downstream, downstream_paths_of(job, path, entry_paths), strict=True)
        edges.setdefault(job.id, []).extend(_Edge(entry.job, where) for entry, where in targets)
    return [*violations, *_duplicates(jobs, paths), *_unknown(edges), *_cycles(edges)]


def _duplicates(jobs: Sequence[JobDefinition], paths: Sequence[str]) -> Iterator[Violation]:
    first: dict[str, str] = {}
    for job, path in zip(jobs, paths, strict=True):
        if job.id and first.setdefault(job.id, path) != path:
            yield Violation(f"{path}.id", f"{job.id!r} is already the id of {first[job.id]}")


def _unknown(edges: Mapping[str, Sequence[_Edge]]) -> Iterator[Violation]:
    for edge in (edge for outgoing in edges.values() for edge in outgoing):
        if is_job_id(edge.to) and edge.to not in edges:
            yield Violation(edge.path, f"there is no job {edge.to!r} in this project")


def _cycles(edges: Mapping[str, Sequence[_Edge]]) -> Iterator[Violation]:
    """One violation per edge that leads back to where a depth-first walk came from: without them there is no cycle.

    The walk keeps its own stack, because a chain may be as long as a project has jobs.
    """
    done: set[str] = set()
    for root in edges:
        if root in done:
            continue
        trail: dict[str, Iterator[_Edge]] = {root: iter(edges[root])}
        while trail:
            job, outgoing = next(reversed(trail.items()))
            edge = next(outgoing, None)
            if edge is None:
                del trail[job]
                done.add(job)
            elif edge.to in trail:
                yield Violation(edge.path, f"closes the cycle {_shown(list(trail), edge.to)}")
            elif edge.to in edges and edge.to not in done:
                trail[edge.to] = iter(edges[edge.to])


def _shown(trail: list[str], start: str) -> str:
    cycle = [*trail[trail.index(start) :], start]
    if len(cycle) > _MAX_SHOWN:
        cycle = [*cycle[: _MAX_SHOWN // 2], f"… {len(cycle) - _MAX_SHOWN} more …", *cycle[-_MAX_SHOWN // 2 :]]
    return " -> ".join(cycle)
