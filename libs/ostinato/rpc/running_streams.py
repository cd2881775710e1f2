"""The streams that this process answers, so that a drain need not wait for the end of what they watch.

Whoever reads a stream must know why it ended: OK means that there is no more to tell. A stream that the server
ends for its own reasons, by draining or because it has lasted too long, ends with UNAVAILABLE and a time to repeat.
Only the wait for the next message is cut short, never the sending of one: gRPC could not send a status after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from ostinato.clock import Clock
from ostinato.errors import Transient
from ostinato.rpc.call_deadline import DeadlineExceeded

# Rights are checked when a stream begins, and connections are renewed about as often.
MAX_STREAM = timedelta(minutes=30)
M = TypeVar("M")


class StreamInterrupted(Transient):
    """There is more to come; ask again, here or at another process."""

    reason = "STREAM_INTERRUPTED"


class RunningStream:
    def __init__(self, clock: Clock, remaining: float | None) -> None:
        self._clock = clock
        limit = MAX_STREAM.total_seconds()
        self._ended_by_server = remaining is None or remaining > limit
        self._ends_at = clock.monotonic() + (limit if self._ended_by_server else remaining or 0)
        self._wait: asyncio.Timeout | None = None

    async def next_of(self, messages: AsyncIterator[M]) -> M | None:
        """None at the end. Raises DeadlineExceeded when the caller's time is over, StreamInterrupted when ours is."""
        self._wait = wait = asyncio.timeout(max(0.0, self._ends_at - self._clock.monotonic()))
        try:
            async with wait:
                return await anext(messages, None)
        except TimeoutError:
            if not wait.expired():
                raise
            if self._ended_by_server:
                raise StreamInterrupted("the server ended the stream") from None
            raise DeadlineExceeded("the call's deadline has passed") from None
        finally:
            self._wait = None

    def interrupt(self) -> None:
        if self._wait is not None and self._wait.expired():
            return
        self._ended_by_server = True
        self._ends_at = self._clock.monotonic()
        if self._wait is not None:
            self._wait.reschedule(0)


class RunningStreams:
    """`drain` ends those under way and refuses new ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: set[RunningStream] = set()
        self._draining = False

    @contextmanager
    def one(self, remaining: float | None) -> Iterator[RunningStream]:
        """`remaining`: seconds until the caller's deadline, if it has one."""
        if self._draining:
            raise StreamInterrupted("the server is draining")
        stream = RunningStream(self._clock, remaining)
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    def drain(self) -> None:
        self._draining = True
        for stream in self._streams:
            stream.interrupt()
