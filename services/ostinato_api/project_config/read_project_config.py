"""The text of a project config → what it asks for, or every mistake in it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ostinato.errors import InvalidArgument, Violation
from ostinato.jobstore.job_definition_codec import encode_definition, to_definition
from ostinato.jobstore.schedule_terms_codec import encode_terms
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig, ProjectConfig
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.validate_job import validate_project_id
from ostinato.scheduling.validate_project import MAX_JOBS, validate_project
from ostinato.yamlfile.message_reader import MessageReader
from ostinato.yamlfile.mistakes import Mistakes, not_caused_by
from ostinato.yamlfile.yaml_tree import YamlMapping, parse_yaml
from ostinato.zones import load_zone
from ostinato_api.project_config.bindings import fill_binding_defaults, validate_bindings
from ostinato_api.project_config.calendars import read_calendars, resolve_calendars

MAX_CONFIG_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stanza:
    """One job of a valid config. `encoded` is what is stored, and tells changes; `terms` is for its cron row."""

    definition: JobDefinition
    encoded: bytes
    terms: bytes

    @classmethod
    def of(cls, definition: JobDefinition) -> Stanza:
        """Takes milliseconds where there are many blackouts."""
        return cls(definition, encode_definition(definition), encode_terms(definition.terms))


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """A valid config. `bindings` is a serialized ProjectConfig that carries only bindings."""

    project: str
    bindings: bytes
    stanzas: tuple[Stanza, ...]


def read_project_config(text: str) -> ProjectSpec:
    """Raises InvalidArgument with the path of each mistake. Takes seconds of CPU for the largest files."""
    if len(text.encode()) > MAX_CONFIG_BYTES:
        raise InvalidArgument.of("config", f"must be at most {MAX_CONFIG_BYTES} bytes")
    mistakes = Mistakes()
    root = parse_yaml(text, mistakes)
    if not isinstance(root, YamlMapping):
        raise InvalidArgument.of("config", "must be a mapping with the keys project, bindings and jobs")
    config = ProjectConfig()
    MessageReader(mistakes).fill(config, root)
    unreadable = mistakes.violations
    if len(config.jobs) > MAX_JOBS:
        raise InvalidArgument([Violation("jobs", f"must be at most {MAX_JOBS}"), *unreadable])
    fill_binding_defaults(config)
    broken, definitions = _validate(config)
    if violations := [*unreadable, *not_caused_by(unreadable, broken)]:
        raise InvalidArgument(violations)
    return ProjectSpec(
        project=config.project,
        bindings=ProjectConfig(bindings=config.bindings).SerializeToString(deterministic=True),
        stanzas=tuple(map(Stanza.of, definitions)),
    )


def _validate(config: ProjectConfig) -> tuple[list[Violation], list[JobDefinition]]:
    paths = [f"jobs[{index}]" for index in range(len(config.jobs))]
    missing = [
        Violation(path, "must have one target: noop or http")
        for job, path in zip(config.jobs, paths, strict=True)
        if job.WhichOneof("target") is None
    ]
    calendars, broken_calendars = read_calendars(config.calendars)
    unresolved = resolve_calendars(config.jobs, calendars)
    definitions = [to_definition(_with_target(job), path) for job, path in zip(config.jobs, paths, strict=True)]
    violations = [
        *validate_project_id(config.project, "project"),
        *validate_bindings(config.bindings),
        *broken_calendars,
        *missing,
        *unresolved,
        *validate_project(
            definitions,
            paths,
            project=config.project,
            find_zone=load_zone,
            downstream_paths=[_downstream_paths(job, path) for job, path in zip(config.jobs, paths, strict=True)],
        ),
    ]
    return violations, definitions


def _with_target(job: JobConfig) -> JobConfig:
    """A stanza without target is looked at as well: it may have other mistakes, and others may name it."""
    if job.WhichOneof("target") is None:
        job.noop.SetInParent()
    return job


def _downstream_paths(job: JobConfig, path: str) -> Sequence[str]:
    """Parallel to the definition's downstream: the long form, then the short one."""
    return [
        *(f"{path}.downstream[{index}].job" for index in range(len(job.downstream))),
        *(f"{path}.triggers[{index}]" for index in range(len(job.triggers))),
    ]
