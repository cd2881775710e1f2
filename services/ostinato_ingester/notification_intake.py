"""Takes a notification in: who speaks for which invocation, whether it is well-formed, and the task that carries it on.

Answering OK means that the task is committed. The same message may come twice: the first final one wins when the
engine applies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter

from ostinato.auth.notification_token import NotificationClaims, NotificationTokens
from ostinato.clock import Clock
from ostinato.errors import InvalidArgument, OstinatoError, Violation
from ostinato.jobflow.add_report import add_report
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.taskqueue import Dispatcher
from ostinato_ingester.notification_rules import notification_violations


class NotificationMetrics:
    """Notifications by the way they came and what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._taken = Counter(
            "ostinato_notifications", "Notifications of running work.", ("transport", "outcome"), registry=registry
        )

    @contextmanager
    def counted(self, transport: str) -> Iterator[None]:
        """Counts what the block does: `ACCEPTED`, or the reason of the error it raises."""
        try:
            yield
        except OstinatoError as error:
            self._taken.labels(transport, error.reason).inc()
            raise
        self._taken.labels(transport, "ACCEPTED").inc()


class NotificationIntake:
    """Turns each notification into one task."""

    def __init__(
        self, tokens: NotificationTokens, dispatcher: Dispatcher, rejected: RejectedReports, clock: Clock
    ) -> None:
        self._tokens = tokens
        self._dispatcher = dispatcher
        self._rejected = rejected
        self._clock = clock

    def authenticate(self, token: str) -> NotificationClaims:
        """Raises TokenRejected, and notes it for people."""
        with self._rejected.noted():
            return self._tokens.verify(token, now=self._clock.now())

    async def accept(
        self, claims: NotificationClaims, request: NotifyRequest, unreadable: Iterable[Violation] = ()
    ) -> None:
        """Returns after the commit. `unreadable`: what the transport could not make sense of.

        Raises InvalidArgument, and Transient when the store can't be reached.
        """
        _refuse_violations(request, unreadable)
        task = HandleNotificationTask(invocation_id=claims.invocation_id, job_id=claims.job_id, notification=request)
        task.notification.ClearField("token")
        await add_report(self._dispatcher, task)


def _refuse_violations(request: NotifyRequest, unreadable: Iterable[Violation]) -> None:
    violations = {violation.path: violation for violation in unreadable}
    for violation in notification_violations(request):
        violations.setdefault(violation.path, violation)  # an unreadable field is not also missing
    if violations:
        raise InvalidArgument(violations.values())
