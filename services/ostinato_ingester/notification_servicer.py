"""NotificationService over gRPC. Callers need no identity: the token in the request speaks for one invocation."""

from __future__ import annotations

import grpc

from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest, NotifyResponse
from ostinato.pb.ingest.v1.notifications_pb2_grpc import NotificationServiceServicer
from ostinato_ingester.notification_intake import NotificationIntake, NotificationMetrics


class NotificationServicer(NotificationServiceServicer):
    def __init__(self, intake: NotificationIntake, metrics: NotificationMetrics) -> None:
        self._intake = intake
        self._metrics = metrics

    async def Notify(self, request: NotifyRequest, context: grpc.ServicerContext) -> NotifyResponse:  # noqa: N802, ARG002
        with self._metrics.counted("grpc"):
            claims = self._intake.authenticate(request.token)
            await self._intake.accept(claims, request)
        return NotifyResponse()
