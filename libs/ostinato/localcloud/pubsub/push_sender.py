"""Sends pushes over HTTP and says whether the endpoint took them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import structlog

from ostinato.clock import Clock
from ostinato.localcloud.faults import Fate
from ostinato.localcloud.pubsub.push_request import ACKNOWLEDGING, PushRequest

_log = structlog.get_logger(__name__)


class PushSender:
    """Build it with `open_push_sender`."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def send(self, request: PushRequest, fate: Fate) -> bool:
        """True if the answer acknowledges the message."""
        if fate.delay:
            await self._clock.sleep(fate.delay.total_seconds())
        if fate.refused is not None:
            return False
        first, *_ = await asyncio.gather(*(self._post(request) for _ in range(fate.copies)))
        return first and fate.answer_lost is None

    async def _post(self, request: PushRequest) -> bool:
        try:
            async with self._session.post(
                request.url, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _log.info("a push reached nobody", url=request.url, error=f"{type(error).__name__}: {error}")
            return False
        if response.status not in ACKNOWLEDGING:
            _log.info("a push was not acknowledged", url=request.url, status=response.status)
        return response.status in ACKNOWLEDGING


@asynccontextmanager
async def open_push_sender(clock: Clock) -> AsyncIterator[PushSender]:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),  # the ack deadline says how long it may take
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Content-Type",),
    )
    async with session:
        yield PushSender(session, clock)
