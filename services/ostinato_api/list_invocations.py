"""ListInvocations: active and finished runs of a job, newest first."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.invocation_listing_store import list_invocations as list_rows
from ostinato.pb.scheduler.v1.invocations_pb2 import ListInvocationsRequest, ListInvocationsResponse
from ostinato.scheduling.invocation_id import InvocationId
from ostinato_api.api_resources import ApiResources
from ostinato_api.invocation_message import invocation_message
from ostinato_api.job_access import get_job_scope
from ostinato_api.paging import MAX_PAGE_BYTES
from ostinato_api.request_checks import RequestChecks


async def list_invocations(
    api: ApiResources, access: CallAccess, request: ListInvocationsRequest
) -> ListInvocationsResponse:
    checks = RequestChecks()
    key = checks.job(request.parent, "parent")
    page = checks.page(api.page_tokens, request, ("ListInvocations", request.parent), (int,))
    checks.finish()
    scope = await get_job_scope(api.db, access, key)
    after = InvocationId(0 if page.cursor is None else int(page.cursor[0]))
    found = await list_rows(api.db, scope.job_id, after=after, limit=page.limit, max_bytes=MAX_PAGE_BYTES)
    next_token = api.page_tokens.make(page.listing, (found.invocations[-1].id,)) if found.more else ""
    return ListInvocationsResponse(
        invocations=[invocation_message(row) for row in found.invocations], next_page_token=next_token
    )
