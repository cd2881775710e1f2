"""Applies config files one by one: each stands or falls alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import click

from ostinato.cli.formatting import printable
from ostinato.cli.json_output import to_object
from ostinato.cli.refusal import explain
from ostinato.client import ClientError, OstinatoClient
from ostinato.pb.scheduler.v1.projects_pb2 import (
    CONFIG_FORMAT_YAML,
    ApplyProjectConfigRequest,
    ApplyProjectConfigResponse,
)


@dataclass(frozen=True, slots=True)
class Applied:
    """One file that was applied, or in a dry run could be."""

    answer: ApplyProjectConfigResponse


@dataclass(frozen=True, slots=True)
class Rejected:
    """One file that changed nothing."""

    file: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


async def apply_files(client: OstinatoClient, files: Sequence[str], *, dry_run: bool) -> list[Applied | Rejected]:
    """Raises ClientError only when no api answers."""
    return [await _apply_file(client, file, dry_run=dry_run) for file in files]


async def _apply_file(client: OstinatoClient, file: str, *, dry_run: bool) -> Applied | Rejected:
    try:
        with click.open_file(file, "rb") as opened:
            config = opened.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Rejected(file, f"can't be read: {error}")
    request = ApplyProjectConfigRequest(config=config, format=CONFIG_FORMAT_YAML, validate_only=dry_run)
    try:
        return Applied(await client.apply_project_config(request))
    except ClientError as error:
        if error.is_unanswered:
            raise
        return Rejected(file, explain(error))


def applied_as_json(answers: Sequence[ApplyProjectConfigResponse]) -> str:
    return json.dumps({"results": [to_object(answer) for answer in answers]}, indent=2, ensure_ascii=False)


def print_applied(answers: Sequence[ApplyProjectConfigResponse]) -> None:
    for answer in answers:
        for line in _lines(answer):
            click.echo(printable(line))


def _lines(answer: ApplyProjectConfigResponse) -> list[str]:
    project = answer.project.removeprefix("projects/")
    changes = [
        *(f"  + {job}" for job in answer.added),
        *(f"  ~ {job}" for job in answer.changed),
        *(f"  - {job}" for job in answer.disabled),
    ]
    counts = f"{len(answer.added)} added, {len(answer.changed)} changed, {len(answer.disabled)} disabled"
    what = counts if changes else "no job changes"
    end = " (dry run: nothing was changed)" if answer.validate_only else f", revision {answer.revision}"
    return [f"{project}: {what}{end}", *changes]
