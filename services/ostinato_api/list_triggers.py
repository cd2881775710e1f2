"""ListTriggers: what is pending for a job, oldest first."""

from __future__ import annotations

from datetime import datetime

from ostinato.auth.call_access import CallAccess
from ostinato.auth.page_token import Cursor
from ostinato.jobstore.trigger_store import PendingBody, list_pending
from ostinato.pb.scheduler.v1.triggers_pb2 import ListTriggersRequest, ListTriggersResponse, Trigger
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import get_job_scope
from ostinato_api.paging import cut_page, from_micros, to_micros
from ostinato_api.request_checks import Page, RequestChecks


async def list_triggers(api: ApiResources, access: CallAccess, request: ListTriggersRequest) -> ListTriggersResponse:
    checks = RequestChecks()
    key = checks.job(request.parent, "parent")
    page = checks.page(api.page_tokens, request, ("ListTriggers", request.parent), (int, int, str))
    checks.finish()
    scope = await get_job_scope(api.db, access, key)
    found = await list_pending(api.db, scope.job_id, after=_position(page), limit=page.limit + 1)
    triggers, next_token = cut_page(page, api.page_tokens, found, trigger_message, _cursor)
    return ListTriggersResponse(triggers=triggers, next_page_token=next_token)


def trigger_message(pending: PendingBody) -> Trigger:
    return Trigger.FromString(pending.body)


def _position(page: Page) -> tuple[datetime, int, str] | None:
    if page.cursor is None:
        return None
    micros, order, trigger_id = page.cursor
    return from_micros(int(micros)), int(order), str(trigger_id)


def _cursor(pending: PendingBody) -> Cursor:
    created_at, order, trigger_id = pending.position
    return to_micros(created_at), order, trigger_id
