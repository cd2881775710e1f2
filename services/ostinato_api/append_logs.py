"""AppendLogs: running work adds to its own log. The token it was given says which run it may speak for.

Returns after the commit, so that lines of calls made one after the other stand in that order. A repeated message and
lines of a run that has ended are answered OK, counted and logged, as they are for notifications.
"""

from __future__ import annotations

import logging
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter

from ostinato.auth.notification_token import NotificationClaims, NotificationTokens, TokenFault
from ostinato.clock import Clock
from ostinato.jobflow.add_report import add_report
from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import StoredInvocation, lock_invocations, touch_heartbeats
from ostinato.jobstore.job_listing_store import find_job_scope
from ostinato.jobstore.message_store import record_messages
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.pb.scheduler.v1.invocations_pb2 import AppendLogsRequest, AppendLogsResponse
from ostinato.rpc.report_rules import log_violations, message_id_violations
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato_api.request_checks import InvocationKey, RequestChecks

_log = logging.getLogger(__name__)


class AppendOutcome(StrEnum):
    APPENDED = "APPENDED"
    DEFERRED = "DEFERRED"  # a launch is being repeated; an engine appends them when it is saved
    REPEATED = "REPEATED"
    IGNORED = "IGNORED"  # the run has ended


class AppendLogs:
    """The command, with the keys that its tokens are signed with."""

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        tokens: NotificationTokens,
        rejected: RejectedReports,
        *,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._rejected = rejected
        self._clock = clock
        self._appended = Counter(
            "ostinato_api_append_logs", "AppendLogs by what became of the lines.", ("outcome",), registry=registry
        )

    async def __call__(self, request: AppendLogsRequest) -> AppendLogsResponse:
        """Whatever is wrong with the token, and for whatever run it is, the answer is the same Unauthenticated."""
        with self._rejected.noted():
            claims = self._tokens.verify(request.token, now=self._clock.now())
            key = _check(request)
            if key.id != claims.invocation_id:
                raise claims.rejected(TokenFault.OTHER_RUN)
            outcome = await self._db.transact(lambda tx: self._append(tx, claims, key, request))
        self._appended.labels(outcome).inc()
        if outcome in {AppendOutcome.REPEATED, AppendOutcome.IGNORED}:
            _log.info("log lines %r of %s not appended: %s", request.message_id, request.name, outcome)
        return AppendLogsResponse()

    async def _append(
        self, tx: Tx, claims: NotificationClaims, key: InvocationKey, request: AppendLogsRequest
    ) -> AppendOutcome:
        scope = await find_job_scope(tx, key.job)
        if scope is None or scope.job_id != claims.job_id:
            raise claims.rejected(TokenFault.OTHER_RUN)
        found = (await lock_invocations(tx, [key.id])).get(key.id)
        if found is None:
            return AppendOutcome.IGNORED
        if found.job_id != claims.job_id:
            raise claims.rejected(TokenFault.OTHER_RUN)
        if found.status is InvocationStatus.RETRYING:  # shows an error, which a change of the run would take away
            await add_report(self._dispatcher, _as_notification(claims, request), tx=tx)
            return AppendOutcome.DEFERRED
        return await self._append_to(tx, found, request)

    async def _append_to(self, tx: Tx, found: StoredInvocation, request: AppendLogsRequest) -> AppendOutcome:
        message = (found.id, request.message_id)
        is_new = not request.message_id or message in await record_messages(tx, [message])
        if is_new:
            lines = [LogLine(found.read_at, text) for text in request.lines]
            change = InvocationChange(invocation=found, to_status=found.status, log_lines=lines)
            await apply_changes(tx, self._dispatcher, [change])
        await touch_heartbeats(tx, [found.id])
        return AppendOutcome.APPENDED if is_new else AppendOutcome.REPEATED


def _check(request: AppendLogsRequest) -> InvocationKey:
    checks = RequestChecks()
    key = checks.invocation(request.name)
    if not request.lines:
        checks.refuse("lines", "must not be empty")
    checks.refuse_all(message_id_violations(request.message_id))
    checks.refuse_all(log_violations(request.lines, "lines"))
    checks.finish()
    return key


def _as_notification(claims: NotificationClaims, request: AppendLogsRequest) -> HandleNotificationTask:
    return HandleNotificationTask(
        invocation_id=InvocationId(claims.invocation_id),
        job_id=claims.job_id,
        notification=NotifyRequest(
            message_id=request.message_id, status=NotifyRequest.RUNNING, log_lines=request.lines
        ),
    )
