"""Watches an invocation through everything that interrupts a stream: an api that restarts, a network that blinks.

Each response brings a token for the place behind its lines; whoever asks with it misses nothing and gets nothing
twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import grpc

from ostinato.client.client_error import ClientError
from ostinato.client.connection import Connection
from ostinato.clock import Clock, SystemClock
from ostinato.pb.scheduler.v1.invocations_pb2 import WatchInvocationRequest, WatchInvocationResponse

# How the server, or what is left of it, says that it may go on elsewhere or later.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
_FIRST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=2)


async def watch(
    connection: Connection,
    method: grpc.aio.UnaryStreamMultiCallable[WatchInvocationRequest, WatchInvocationResponse],
    request: WatchInvocationRequest,
    *,
    patience: timedelta,
    clock: Clock | None = None,
) -> AsyncGenerator[WatchInvocationResponse, None]:
    """Changes `request` as it goes on.

    Raises ClientError when the first attempt fails, and when there has been no response for `patience` since.
    """
    clock = clock or SystemClock()
    pause, was_answered, failing_since = _FIRST_PAUSE, False, None
    while True:
        try:
            async with aclosing(connection.stream(method, request)) as responses:
                async for response in responses:
                    request.resume_token = response.resume_token
                    pause, was_answered, failing_since = _FIRST_PAUSE, True, None
                    yield response
        except ClientError as error:
            failing_since = clock.monotonic() if failing_since is None else failing_since
            is_over = clock.monotonic() - failing_since > patience.total_seconds()
            if is_over or not was_answered or error.code not in _PASSING:
                raise
        else:
            return
        await clock.sleep(pause.total_seconds())
        pause = min(2 * pause, _LONGEST_PAUSE)
