"""`POST /notify`: the same as NotificationService.Notify for whoever speaks only HTTP. 204 after the commit."""

from __future__ import annotations

from aiohttp import web

from ostinato.errors import Unauthenticated, Unavailable
from ostinato_ingester.notification_intake import NotificationIntake, NotificationMetrics
from ostinato_ingester.notification_json import parse_notification

# The largest notification, with every character of its log spelt as a JSON escape.
MAX_BODY_BYTES = 4 * 1024 * 1024


class NotifyRoute:
    """Served from the process's first moment, so that it answers 503 until `intake` is there."""

    def __init__(self, metrics: NotificationMetrics) -> None:
        self.intake: NotificationIntake | None = None
        self._metrics = metrics

    def route(self) -> web.RouteDef:
        return web.post("/notify", self._notify)

    async def _notify(self, request: web.Request) -> web.Response:
        with self._metrics.counted("http"):
            await self._take(request)
        return web.Response(status=204)

    async def _take(self, request: web.Request) -> None:
        if self.intake is None:
            raise Unavailable("the ingester is starting")
        claims = self.intake.authenticate(_bearer_token(request))
        parsed = parse_notification(await request.read())
        await self.intake.accept(claims, parsed.request, parsed.violations)


def _bearer_token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("the request needs `Authorization: Bearer <notification token>`")
    return token.strip()
