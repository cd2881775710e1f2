"""Finds the job that a request is about, if the caller may do with it what it asks."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.job_listing_store import JobScope, JobView, find_job_scope, find_job_view
from ostinato.jobstore.job_store import JobKey, JobRow, lock_job
from ostinato.jobstore.project_store import find_project
from ostinato.scheduling.names import job_name
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx
from ostinato_api.project_config.bindings import policy_of


async def get_job_view(reader: Reader, access: CallAccess, key: JobKey) -> JobView:
    """Raises NotFound or PermissionDenied, as do its siblings."""
    view = await find_job_view(reader, key)
    if view is None:
        raise access.not_found(job_name(*key))
    access.require_job(policy_of(view.bindings), view.job.realm, view.job.resource_name)
    return view


async def get_job_scope(reader: Reader, access: CallAccess, key: JobKey) -> JobScope:
    scope = await find_job_scope(reader, key)
    if scope is None:
        raise access.not_found(job_name(*key))
    access.require_job(policy_of(scope.bindings), scope.realm, scope.resource_name)
    return scope


async def lock_accessible_job(tx: Tx, access: CallAccess, key: JobKey) -> tuple[JobRow, bytes]:
    """The locked job and the bindings of its project."""
    project = await find_project(tx, key[0])
    job = await lock_job(tx, key)
    if job is None or project is None:
        raise access.not_found(job_name(*key))
    access.require_job(policy_of(project.bindings), job.realm, job.resource_name)
    return job, project.bindings
