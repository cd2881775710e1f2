"""ApplyProjectConfig: the diff between a project's jobs and its config, told or made true in one transaction.

Configs of one project are applied one after the other under the project's row lock. What a config does not
change is not touched, jobs it does not name are disabled, and nothing at all happens if anything in it is wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from ostinato.auth.call_access import CallAccess
from ostinato.errors import Conflict, InvalidArgument
from ostinato.jobstore.job_store import load_jobs_of_project
from ostinato.jobstore.project_store import ProjectRow, configure_project, create_project, find_project, lock_project
from ostinato.pb.scheduler.v1.projects_pb2 import (
    CONFIG_FORMAT_UNSPECIFIED,
    CONFIG_FORMAT_YAML,
    ApplyProjectConfigRequest,
    ApplyProjectConfigResponse,
)
from ostinato.scheduling.names import project_name
from ostinato.storage.transaction import Tx
from ostinato_api.api_resources import ApiResources
from ostinato_api.apply_plan import ConfigSource, apply_plan
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.project_config.plan_config import ConfigPlan, conflicts_with_api_jobs, plan_config
from ostinato_api.project_config.read_project_config import ProjectSpec, read_project_config
from ostinato_api.request_checks import RequestChecks

MAX_REVISION_BYTES = 200
MAX_URL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class _Order:
    spec: ProjectSpec
    revision: str
    revision_url: str
    expected_revision: str
    validate_only: bool


async def apply_project_config(
    api: ApiResources, access: CallAccess, request: ApplyProjectConfigRequest
) -> ApplyProjectConfigResponse:
    checks = RequestChecks()
    project = checks.project(request.project, "project") if request.project else ""
    checks.text(request.revision, "revision", max_bytes=MAX_REVISION_BYTES)
    checks.text(request.revision_url, "revision_url", max_bytes=MAX_URL_BYTES)
    checks.text(request.expected_revision, "expected_revision", max_bytes=MAX_REVISION_BYTES)
    if request.format not in (CONFIG_FORMAT_UNSPECIFIED, CONFIG_FORMAT_YAML):
        checks.refuse("format", "must be CONFIG_FORMAT_YAML")
    checks.finish()
    # In a thread: seconds of CPU for the largest files, and other calls go on meanwhile.
    spec = await asyncio.to_thread(read_project_config, request.config)
    if project and project != spec.project:
        raise InvalidArgument.of("project", f"must agree with the file, which says {spec.project}")
    order = _Order(
        spec=spec,
        revision=request.revision or digest_of(request.config),
        revision_url=request.revision_url,
        expected_revision=request.expected_revision,
        validate_only=request.validate_only,
    )
    return await api.db.transact(lambda tx: _apply(tx, api, access, order))


def digest_of(config: str) -> str:
    """The revision of a config that came without one."""
    return hashlib.sha256(config.encode()).hexdigest()[:40]


async def _apply(tx: Tx, api: ApiResources, access: CallAccess, order: _Order) -> ApplyProjectConfigResponse:
    project = await _get_project(tx, access, order)
    _check_revision(project, order)
    plan = await _plan(tx, order.spec)
    if project is not None and not order.validate_only:
        await _carry_out(tx, api, order, plan, project)
    return ApplyProjectConfigResponse(
        project=project_name(order.spec.project),
        revision=order.revision,
        added=plan.added_names,
        changed=plan.changed_names,
        disabled=plan.disabled_names,
        validate_only=order.validate_only,
    )


async def _get_project(tx: Tx, access: CallAccess, order: _Order) -> ProjectRow | None:
    """The project, locked, made if it is new. With `validate_only` nothing is locked or made."""
    name = order.spec.project
    project = await (find_project if order.validate_only else lock_project)(tx, name)
    access.require_project(policy_of(project.bindings if project else b""), project_name(name))
    if project is None and not order.validate_only:
        await create_project(tx, name)
        project = await lock_project(tx, name)
    return project


def _check_revision(project: ProjectRow | None, order: _Order) -> None:
    current = project.revision if project else ""
    if order.expected_revision and order.expected_revision != current:
        in_force = f"revision {current}" if current else "no config"
        raise Conflict(f"{project_name(order.spec.project)} has {in_force}, not {order.expected_revision}")


async def _plan(tx: Tx, spec: ProjectSpec) -> ConfigPlan:
    stored = await load_jobs_of_project(tx, spec.project)
    if violations := conflicts_with_api_jobs(stored, spec.stanzas):
        raise InvalidArgument(violations)
    return plan_config(stored, spec.stanzas)


async def _carry_out(tx: Tx, api: ApiResources, order: _Order, plan: ConfigPlan, project: ProjectRow) -> None:
    source = ConfigSource(project.project_id, project.name, order.revision, order.revision_url)
    await apply_plan(tx, api.dispatcher, plan, source)
    await configure_project(
        tx,
        project.project_id,
        bindings=order.spec.bindings,
        revision=order.revision,
        revision_url=order.revision_url,
        now=await tx.now(),
    )
