"""GetJob and BatchGetJobs."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.auth.permissions import Access
from ostinato.jobstore.job_listing_store import find_job_views
from ostinato.pb.scheduler.v1.jobs_pb2 import BatchGetJobsRequest, BatchGetJobsResponse, GetJobRequest, Job
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import get_job_view
from ostinato_api.job_message import job_message
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.request_checks import RequestChecks

MAX_BATCH = 500


async def get_job(api: ApiResources, access: CallAccess, request: GetJobRequest) -> Job:
    checks = RequestChecks()
    key = checks.job(request.name)
    checks.finish()
    return job_message(await get_job_view(api.db, access, key))


async def batch_get_jobs(api: ApiResources, access: CallAccess, request: BatchGetJobsRequest) -> BatchGetJobsResponse:
    """In the order asked for; what is missing or invisible is left out, as is a name that stands twice."""
    checks = RequestChecks()
    checks.at_most(request.names, "names", MAX_BATCH)
    keys = [checks.job(name, f"names[{index}]") for index, name in enumerate(request.names)]
    checks.finish()
    access.is_needless()
    views = {
        (view.job.project, view.job.name): view
        for view in await find_job_views(api.db, set(keys))
        if access.access_to_job(policy_of(view.bindings), view.job.realm) is Access.ALLOWED
    }
    return BatchGetJobsResponse(jobs=[job_message(views[key]) for key in dict.fromkeys(keys) if key in views])
