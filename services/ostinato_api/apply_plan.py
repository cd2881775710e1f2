"""Carries out the plan of a config: set-based, under the project's lock, with what follows for schedules and triage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobflow.poke_cron import CronWish, poke_cron
from ostinato.jobstore.job_cron_store import lock_crons
from ostinato.jobstore.job_store import (
    JobEdit,
    JobId,
    JobRow,
    ManagedBy,
    disable_jobs,
    insert_jobs,
    lock_jobs,
    redefine_jobs,
)
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.names import job_name
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato_api.project_config.plan_config import ConfigPlan, Redefinition
from ostinato_api.project_config.read_project_config import Stanza


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Which project, and which revision of its config the jobs get."""

    project_id: int
    project: str
    revision: str
    revision_url: str


async def apply_plan(tx: Tx, dispatcher: Dispatcher, plan: ConfigPlan, source: ConfigSource) -> None:
    redefined = [*plan.enabled_again, *plan.changed]
    touched = [*(redefinition.job for redefinition in redefined), *plan.disabled]
    locked = {job.job_id: job for job in await lock_jobs(tx, [job.job_id for job in touched])}
    locked_crons = await lock_crons(tx, locked.keys())
    created = await _save_jobs(tx, plan, redefined, source)
    wishes = [
        *_wishes_of_created(plan.created, created, source),
        *_wishes_of_redefined(redefined, locked, source),
        *_wishes_of_disabled(plan.disabled, locked),
    ]
    await poke_cron(tx, dispatcher, wishes, locked=locked_crons)
    await kick_triage(tx, dispatcher, [(job.job_id, job.project_id) for job in touched])


async def _save_jobs(
    tx: Tx, plan: ConfigPlan, redefined: Sequence[Redefinition], source: ConfigSource
) -> dict[str, JobId]:
    """Ids of the new jobs by name."""
    now = await tx.now()
    created = await insert_jobs(
        tx,
        _edits(plan.created),
        project_id=source.project_id,
        project=source.project,
        managed_by=ManagedBy.CONFIG,
        revision=source.revision,
        revision_url=source.revision_url,
        now=now,
    )
    await redefine_jobs(
        tx,
        _edits(redefinition.stanza for redefinition in redefined),
        project=source.project,
        revision=source.revision,
        revision_url=source.revision_url,
        now=now,
    )
    await disable_jobs(tx, [job.job_id for job in plan.disabled], now=now)
    return created


def _edits(stanzas: Iterable[Stanza]) -> list[JobEdit]:
    return [JobEdit(stanza.definition.id, stanza.definition.realm, stanza.encoded) for stanza in stanzas]


def _wishes_of_created(stanzas: Iterable[Stanza], ids: Mapping[str, JobId], source: ConfigSource) -> Iterator[CronWish]:
    for stanza in stanzas:
        yield CronWish(
            job_id=ids[stanza.definition.id],
            project_id=source.project_id,
            job_name=job_name(source.project, stanza.definition.id),
            schedule=stanza.definition.schedule,
            terms=stanza.terms,
            enabled=True,
            paused=False,
            revision=source.revision,
        )


def _wishes_of_redefined(
    redefined: Iterable[Redefinition], locked: Mapping[JobId, JobRow], source: ConfigSource
) -> Iterator[CronWish]:
    for redefinition in redefined:
        job = locked[redefinition.job.job_id]
        yield CronWish(
            job_id=job.job_id,
            project_id=job.project_id,
            job_name=job.resource_name,
            schedule=redefinition.stanza.definition.schedule,
            terms=redefinition.stanza.terms,
            enabled=True,
            paused=job.paused,  # a job that comes back is as paused as it was
            revision=source.revision,
        )


def _wishes_of_disabled(jobs: Iterable[JobRow], locked: Mapping[JobId, JobRow]) -> Iterator[CronWish]:
    for planned in jobs:
        job = locked[planned.job_id]
        yield CronWish(
            job_id=job.job_id,
            project_id=job.project_id,
            job_name=job.resource_name,
            schedule=JobConfig.FromString(job.definition).schedule,
            enabled=False,
            paused=job.paused,
            revision=job.revision,
        )
