"""A call ends when its caller stops waiting, and never takes longer than the server's own limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from ostinato.errors import Transient

# Of calls that come without a deadline, or with a later one.
MAX_CALL = timedelta(seconds=60)


class DeadlineExceeded(Transient):
    reason = "DEADLINE_EXCEEDED"


@asynccontextmanager
async def call_deadline(remaining: float | None) -> AsyncIterator[None]:
    """Cancels the block after `remaining` seconds and raises DeadlineExceeded instead."""
    limit = MAX_CALL.total_seconds()
    try:
        async with asyncio.timeout(limit if remaining is None else min(limit, remaining)) as timeout:
            yield
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded("the call's deadline has passed") from None
        raise
