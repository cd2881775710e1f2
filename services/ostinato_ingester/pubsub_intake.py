"""Takes a message of Pub/Sub in, pulled or pushed: the same as any notification, but nobody waits for an answer.

What returns is committed: as a task, or, where the message can't be taken, as a dead letter. So it may be acknowledged.
What raises must come again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import structlog

from ostinato.config.pubsub import REPORTING_KINDS
from ostinato.errors import CallerError, InvalidArgument
from ostinato.telemetry.tracing import use_traceparent
from ostinato_ingester.notification_intake import NotificationIntake, NotificationMetrics
from ostinato_ingester.notify_route import MAX_BODY_BYTES
from ostinato_ingester.pubsub_message import PubSubMessage, read_report
from ostinato_ingester.refused_reports import RefusedReports

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a subscription says of all its messages; `transport` is for metrics."""

    transport: str
    kind: str
    publisher: str


class PubSubIntake:
    """Turns each message into one task or one dead letter."""

    def __init__(self, intake: NotificationIntake, refused: RefusedReports, metrics: NotificationMetrics) -> None:
        self._intake = intake
        self._refused = refused
        self._metrics = metrics

    async def take(self, message: PubSubMessage, origin: Origin) -> bool:
        """Returns after the commit; true if the report was taken. Raises Transient when the store can't be reached."""
        try:
            with self._metrics.counted(origin.transport):
                await self._accept_or_keep(message, origin)
        except CallerError:
            return False
        return True

    async def refuse(self, error: CallerError, message: PubSubMessage, origin: Origin) -> None:
        """Of what could not even be read. Returns after the commit; raises Transient."""
        with suppress(CallerError), self._metrics.counted(origin.transport):
            await self._keep(error, message, origin)
            raise error

    async def _accept_or_keep(self, message: PubSubMessage, origin: Origin) -> None:
        """Raises the CallerError that it kept."""
        try:
            await self._accept(message, origin)
        except CallerError as error:
            await self._keep(error, message, origin)
            raise

    async def _accept(self, message: PubSubMessage, origin: Origin) -> None:
        if origin.kind not in REPORTING_KINDS:
            raise InvalidArgument.of("kind", "must be one of: " + ", ".join(REPORTING_KINDS))
        if len(message.data) > MAX_BODY_BYTES:
            raise InvalidArgument.of("data", f"must be at most {MAX_BODY_BYTES} bytes")
        report = read_report(message)
        claims = self._intake.authenticate(report.token)
        with _trace_of(message):
            await self._intake.accept(claims, report.request, report.violations)

    async def _keep(self, error: CallerError, message: PubSubMessage, origin: Origin) -> None:
        await self._refused.keep(error, message, kind=origin.kind, publisher=origin.publisher)
        _log.warning(
            "report refused",
            reason=error.reason,
            error=str(error)[:500],
            transport=origin.transport,
            publisher=origin.publisher[:200],
            message_id=message.message_id[:200],
        )


def _trace_of(message: PubSubMessage) -> AbstractContextManager[None]:
    """The publisher's trace goes on where it sent one."""
    traceparent = message.attributes.get("traceparent")
    return use_traceparent(traceparent) if traceparent else nullcontext()
