"""AbortInvocation: final at once, whatever the target still does."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.pb.scheduler.v1.invocations_pb2 import AbortInvocationRequest, Invocation
from ostinato.storage.transaction import Tx
from ostinato_api.abort_invocations import abort_invocations
from ostinato_api.api_resources import ApiResources
from ostinato_api.get_invocation import get_invocation_scope, get_listed_invocation
from ostinato_api.invocation_message import invocation_message
from ostinato_api.pause_job import MAX_REASON_BYTES
from ostinato_api.request_checks import InvocationKey, RequestChecks


async def abort_invocation(api: ApiResources, access: CallAccess, request: AbortInvocationRequest) -> Invocation:
    """Aborting what has ended changes nothing."""
    checks = RequestChecks()
    key = checks.invocation(request.name)
    reason = checks.text(request.reason, "reason", max_bytes=MAX_REASON_BYTES)
    checks.finish()
    return await api.db.transact(lambda tx: _apply(tx, api, access, key, reason))


async def _apply(tx: Tx, api: ApiResources, access: CallAccess, key: InvocationKey, reason: str) -> Invocation:
    scope = await get_invocation_scope(tx, access, key)
    await abort_invocations(tx, api.dispatcher, [key.id], by=access.caller.identity, reason=reason)
    return invocation_message(await get_listed_invocation(tx, access, scope, key))
