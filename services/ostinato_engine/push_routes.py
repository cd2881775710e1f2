"""What a remote queue, or whoever begins sweeps from outside, asks of an engine over HTTP.

`POST /internal/tasks/…` runs one task, `POST /internal/sweep` begins a sweep and answers 204. Both need the identity
token of an account that may push. They are served from the process's first moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from ostinato.errors import Unavailable

if TYPE_CHECKING:  # these need the extra `cloud`
    from ostinato.rpc.oidc_verifier import OidcVerifier
    from ostinato.taskqueue.cloud_tasks.push_receiver import PushReceiver
    from ostinato.taskqueue.sweeping.sweep_loop import Sweeper

PATIENT_PATHS = "/internal/"
PUSH_PATH = "/internal/tasks/{tail:.*}"
SWEEP_PATH = "/internal/sweep"
MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PushSide:
    """What the routes need."""

    receiver: PushReceiver
    verifier: OidcVerifier
    sweeper: Sweeper


class PushRoutes:
    """`side` is set as soon as tasks can be taken."""

    def __init__(self) -> None:
        self.side: PushSide | None = None

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PUSH_PATH, self._push), web.post(SWEEP_PATH, self._sweep)]

    async def _push(self, request: web.Request) -> web.Response:
        if self.side is None:
            return web.Response(status=500, text="starting")  # 503 would slow the whole queue down
        return await self.side.receiver.handle(request)

    async def _sweep(self, request: web.Request) -> web.Response:
        side = self.side
        if side is None:
            raise Unavailable("the engine is starting")
        await side.verifier.verify(request.headers.get("Authorization"), host=request.host)
        await side.sweeper.sweep()
        return web.Response(status=204)
