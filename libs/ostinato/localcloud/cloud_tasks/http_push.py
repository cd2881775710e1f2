"""One push: the HTTP request that a dispatch makes, with its token, its deadline and the faults it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from ostinato.clock import Clock
from ostinato.localcloud.cloud_tasks.attempt_result import (
    DEADLINE_EXCEEDED,
    AttemptResult,
    answered,
    parse_retry_after,
    unanswered,
)
from ostinato.localcloud.faults import Fate
from ostinato.localcloud.load_balancer import LoadBalancer

R = TypeVar("R")
_MAX_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Push:
    """What is sent where; `headers` are complete."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    deadline: timedelta


class HttpPusher:
    """Build it with `open_http_pusher`."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock, balancer: LoadBalancer) -> None:
        self._session = session
        self._clock = clock
        self._balancer = balancer

    async def push(self, push: Push, fate: Fate) -> AttemptResult:
        """Never raises, except CancelledError: whatever happens is the result of the attempt."""
        if fate.refused is not None:
            return unanswered(fate.refused, "the target was not reached (injected fault)")
        call = self._call(push, fate)
        result = await _within(push.deadline, call, self._clock)
        if result is None:
            return unanswered(DEADLINE_EXCEEDED, f"no answer within {push.deadline.total_seconds():g} s")
        if fate.answer_lost is not None:
            return unanswered(fate.answer_lost, "the answer was lost (injected fault)")
        return result

    async def _call(self, push: Push, fate: Fate) -> AttemptResult:
        if fate.delay:
            await self._clock.sleep(fate.delay.total_seconds())
        first, *_ = await asyncio.gather(*(self._send(push) for _ in range(fate.copies)))
        return first

    async def _send(self, push: Push) -> AttemptResult:
        """To whoever is there, if it may be one of several."""
        *others, last = self._balancer.routes(push.url)
        for url in others:
            try:
                return await self._send_to(url, push)
            except aiohttp.ClientConnectorError:
                continue
        try:
            return await self._send_to(last, push)
        except aiohttp.ClientConnectorError as error:
            return _lost(error)

    async def _send_to(self, url: str, push: Push) -> AttemptResult:
        """Raises ClientConnectorError if nobody is there."""
        headers = push.headers if url == push.url else {**push.headers, "Host": urlsplit(push.url).netloc}
        try:
            async with self._session.request(
                push.method, url, headers=headers, data=push.body or None, max_redirects=_MAX_REDIRECTS
            ) as response:
                await response.read()
                return answered(response.status, parse_retry_after(response.headers.get("Retry-After")))
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _lost(error)


def _lost(error: Exception) -> AttemptResult:
    return unanswered("UNAVAILABLE", f"{type(error).__name__}: {error}")


@asynccontextmanager
async def open_http_pusher(clock: Clock, balancer: LoadBalancer | None = None) -> AsyncIterator[HttpPusher]:
    # The queues say how much may be under way at once, and the clock how long it may take.
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Content-Type",),
    )
    async with session:
        yield HttpPusher(session, clock, balancer or LoadBalancer({}))


async def _within(limit: timedelta, call: Coroutine[object, object, R], clock: Clock) -> R | None:
    """What `call` returns, or None if that takes longer by the clock, which may be a test's."""
    calling = asyncio.ensure_future(call)
    waiting = asyncio.ensure_future(clock.sleep(limit.total_seconds()))
    try:
        await asyncio.wait((calling, waiting), return_when=asyncio.FIRST_COMPLETED)
        return calling.result() if calling.done() else None
    finally:
        for task in (calling, waiting):
            task.cancel()
        await asyncio.wait((calling, waiting))
