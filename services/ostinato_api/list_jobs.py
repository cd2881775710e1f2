"""ListJobs: enabled jobs of one project or of all, as far as the caller may see them, by name."""

from __future__ import annotations

from collections.abc import Mapping

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.job_listing_store import JobView, VisibleRealms, list_job_views
from ostinato.jobstore.job_store import JobKey
from ostinato.jobstore.project_store import load_projects
from ostinato.pb.scheduler.v1.jobs_pb2 import ListJobsRequest, ListJobsResponse
from ostinato.storage.database import Reader
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_message import job_message
from ostinato_api.paging import cut_page
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.request_checks import RequestChecks

ALL_PROJECTS = "projects/-"
FIRST_GROUP = 16


async def list_jobs(api: ApiResources, access: CallAccess, request: ListJobsRequest) -> ListJobsResponse:
    checks = RequestChecks()
    project = None if request.parent == ALL_PROJECTS else checks.project(request.parent, "parent")
    page = checks.page(api.page_tokens, request, ("ListJobs", request.parent), (str, str))
    checks.finish()
    visible = await visible_realms(api, access, project)
    if project is not None and not visible:
        raise access.not_found(request.parent)
    after = ("", "") if page.cursor is None else (str(page.cursor[0]), str(page.cursor[1]))
    found = await _load(api.db, visible, after, page.limit + 1)
    jobs, next_token = cut_page(page, api.page_tokens, found, job_message, _cursor)
    return ListJobsResponse(jobs=jobs, next_page_token=next_token)


async def _load(reader: Reader, visible: Mapping[str, VisibleRealms], after: JobKey, limit: int) -> list[JobView]:
    """Project by project in growing groups: the first may fill the page, or thousands may have no job at all."""
    found: list[JobView] = []
    projects = sorted(project for project in visible if project >= after[0])
    size = FIRST_GROUP
    while projects and len(found) < limit:
        group, projects = projects[:size], projects[size:]
        scopes = {project: visible[project] for project in group}
        found += await list_job_views(reader, scopes, after=after, limit=limit - len(found))
        size *= 2
    return found


async def visible_realms(api: ApiResources, access: CallAccess, project: str | None) -> dict[str, VisibleRealms]:
    """By project; those in which the caller may see nothing are missing."""
    access.is_needless()  # each project below is asked about; there may be none
    projects = await load_projects(api.db, None if project is None else [project])
    scopes = {row.name: access.realms(policy_of(row.bindings)) for row in projects}
    return {name: VisibleRealms(scope.everywhere, scope.realms) for name, scope in scopes.items() if scope}


def _cursor(view: JobView) -> tuple[str, str]:
    return view.job.project, view.job.name
