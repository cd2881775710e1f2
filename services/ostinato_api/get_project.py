"""GetProject and ListProjects."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.project_store import ProjectSummary, load_projects, summarize_projects
from ostinato.pb.scheduler.v1.projects_pb2 import (
    GetProjectRequest,
    ListProjectsRequest,
    ListProjectsResponse,
    Project,
)
from ostinato_api.api_resources import ApiResources
from ostinato_api.paging import cut_page
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import RequestChecks


async def get_project(api: ApiResources, access: CallAccess, request: GetProjectRequest) -> Project:
    checks = RequestChecks()
    name = checks.project(request.name)
    checks.finish()
    found = await summarize_projects(api.db, [name])
    if not found:
        raise access.not_found(request.name)
    access.require_project(policy_of(found[0].project.bindings), request.name)
    return _project_message(found[0])


async def list_projects(api: ApiResources, access: CallAccess, request: ListProjectsRequest) -> ListProjectsResponse:
    """Those whose every realm the caller may see, by name."""
    checks = RequestChecks()
    page = checks.page(api.page_tokens, request, ("ListProjects",), (str,))
    checks.finish()
    access.is_needless()  # each project below is asked about; there may be none
    after = "" if page.cursor is None else str(page.cursor[0])
    projects = await load_projects(api.db)
    visible = [row.name for row in projects if row.name > after and access.realms(policy_of(row.bindings)).everywhere]
    found = await summarize_projects(api.db, visible[: page.limit + 1])
    shown, next_token = cut_page(page, api.page_tokens, found, _project_message, _cursor)
    return ListProjectsResponse(projects=shown, next_page_token=next_token)


def _project_message(summary: ProjectSummary) -> Project:
    project = summary.project
    message = Project(
        name=project.resource_name,
        revision=project.revision,
        revision_url=project.revision_url,
        enabled_jobs=summary.enabled_jobs,
    )
    set_time(message.create_time, project.created_at)
    set_time(message.update_time, project.updated_at)
    return message


def _cursor(summary: ProjectSummary) -> tuple[str]:
    return (summary.project.name,)
