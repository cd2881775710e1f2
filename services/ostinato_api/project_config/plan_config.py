"""What applying a config changes: a pure diff between the stored jobs of a project and the stanzas of its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument, Violation
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.jobstore.job_store import JobRow, ManagedBy
from ostinato_api.project_config.read_project_config import Stanza


@dataclass(frozen=True, slots=True)
class Redefinition:
    """A stored job gets a new definition. `job` is the row before."""

    job: JobRow
    stanza: Stanza


@dataclass(frozen=True, slots=True)
class ConfigPlan:
    """Jobs that stand in no list are left untouched: their revision stays that of their last change."""

    created: tuple[Stanza, ...]
    enabled_again: tuple[Redefinition, ...]
    changed: tuple[Redefinition, ...]
    disabled: tuple[JobRow, ...]

    @property
    def added_names(self) -> list[str]:
        again = [redefinition.job.name for redefinition in self.enabled_again]
        return sorted([stanza.definition.id for stanza in self.created] + again)

    @property
    def changed_names(self) -> list[str]:
        return sorted(redefinition.job.name for redefinition in self.changed)

    @property
    def disabled_names(self) -> list[str]:
        return sorted(job.name for job in self.disabled)


def plan_config(stored: Sequence[JobRow], stanzas: Sequence[Stanza]) -> ConfigPlan:
    """Jobs that are managed through the API are none of a config's business: see `conflicts_with_api_jobs`."""
    jobs = {job.name: job for job in stored if job.managed_by is ManagedBy.CONFIG}
    wanted = {stanza.definition.id for stanza in stanzas}
    known = [(jobs[stanza.definition.id], stanza) for stanza in stanzas if stanza.definition.id in jobs]
    return ConfigPlan(
        created=tuple(stanza for stanza in stanzas if stanza.definition.id not in jobs),
        enabled_again=tuple(Redefinition(job, stanza) for job, stanza in known if not job.enabled),
        changed=tuple(Redefinition(job, stanza) for job, stanza in known if job.enabled and _differs(job, stanza)),
        disabled=tuple(job for job in jobs.values() if job.enabled and job.name not in wanted),
    )


def conflicts_with_api_jobs(stored: Sequence[JobRow], stanzas: Sequence[Stanza]) -> list[Violation]:
    taken = {job.name for job in stored if job.managed_by is ManagedBy.API}
    return [
        Violation(f"jobs[{index}].id", "is the id of a job that is managed through the API")
        for index, stanza in enumerate(stanzas)
        if stanza.definition.id in taken
    ]


def _differs(job: JobRow, stanza: Stanza) -> bool:
    if job.definition == stanza.encoded:
        return False
    try:  # another release may have written the same definition in other bytes, and without defaults it did not know
        return decode_definition(job.definition) != stanza.definition
    except (DecodeError, InvalidArgument):
        return True
