"""GetInvocation, and what every request about one invocation begins with."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.invocation_listing_store import (
    ListedInvocation,
    find_job_of_invocation,
    find_listed_invocation,
)
from ostinato.jobstore.job_listing_store import JobScope
from ostinato.pb.scheduler.v1.invocations_pb2 import GetInvocationRequest, Invocation
from ostinato.scheduling.names import invocation_name, job_name
from ostinato.storage.database import Reader
from ostinato_api.api_resources import ApiResources
from ostinato_api.invocation_message import invocation_message
from ostinato_api.job_access import get_job_scope
from ostinato_api.request_checks import InvocationKey, RequestChecks


async def get_invocation(api: ApiResources, access: CallAccess, request: GetInvocationRequest) -> Invocation:
    checks = RequestChecks()
    key = checks.invocation(request.name)
    checks.finish()
    scope = await get_invocation_scope(api.db, access, key)
    return invocation_message(await get_listed_invocation(api.db, access, scope, key))


async def get_invocation_scope(reader: Reader, access: CallAccess, key: InvocationKey) -> JobScope:
    """An invocation is as visible as its job, and known only under its job's name."""
    scope = await get_job_scope(reader, access, key.job)
    if await find_job_of_invocation(reader, key.id) != scope.job_id:
        raise access.not_found(invocation_name(job_name(*key.job), key.id))
    return scope


async def get_listed_invocation(
    reader: Reader, access: CallAccess, scope: JobScope, key: InvocationKey
) -> ListedInvocation:
    row = await find_listed_invocation(reader, key.id)
    if row is None or row.job_id != scope.job_id:
        raise access.not_found(invocation_name(scope.resource_name, key.id))
    return row
