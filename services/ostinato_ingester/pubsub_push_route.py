"""`POST /pubsub/push?kind=…&publisher=…`: what Pub/Sub pushes. What is not answered with 2xx comes again.

204 after the commit; 202 for what can never be taken, with a dead letter committed; 401 or 403 for whoever is not
Pub/Sub; 503 while the store, or the issuer of its identity tokens, is away. Bodies of 2xx are empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from ostinato.config.pubsub import PUSH_PATH
from ostinato.errors import InvalidArgument, Unavailable
from ostinato_ingester.notify_route import MAX_BODY_BYTES
from ostinato_ingester.pubsub_intake import Origin, PubSubIntake
from ostinato_ingester.pubsub_message import PubSubMessage, parse_push

if TYPE_CHECKING:  # it needs the extra `cloud`
    from ostinato.rpc.oidc_verifier import OidcVerifier

TRANSPORT = "pubsub_push"


@dataclass(frozen=True, slots=True)
class PushReceiver:
    """What a push needs."""

    verifier: OidcVerifier
    intake: PubSubIntake


class PubSubPushRoute:
    """Served from the process's first moment, so that it answers 503 until `receiver` is there."""

    def __init__(self) -> None:
        self.receiver: PushReceiver | None = None

    def route(self) -> web.RouteDef:
        return web.post(PUSH_PATH, self._push)

    async def _push(self, request: web.Request) -> web.Response:
        if self.receiver is None:
            raise Unavailable("the ingester is starting")
        await self.receiver.verifier.verify(request.headers.get("Authorization"), host=request.host)
        taken = await _take(request, self.receiver.intake)
        return web.Response(status=204 if taken else 202)


async def _take(request: web.Request, intake: PubSubIntake) -> bool:
    origin = Origin(TRANSPORT, request.query.get("kind", ""), request.query.get("publisher", ""))
    body = b""
    try:
        body = await request.read()
        message = parse_push(body)
    except web.HTTPRequestEntityTooLarge:
        error = InvalidArgument.of("body", f"must be at most {MAX_BODY_BYTES} bytes")
        await intake.refuse(error, PubSubMessage("", b""), origin)
        return False
    except InvalidArgument as error:
        await intake.refuse(error, PubSubMessage("", body), origin)
        return False
    return await intake.take(message, origin)
