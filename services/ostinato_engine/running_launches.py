"""The calls that this process is in the middle of, so that a run that ends otherwise can stop its call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from ostinato.scheduling.invocation_id import InvocationId


class Interruption(StrEnum):
    """Why a call did not get to its end."""

    TIMED_OUT = "TIMED_OUT"  # the run's timeout passed
    STOPPED = "STOPPED"  # the run was ended by somebody else


class Interrupted(Exception):  # noqa: N818 - expected
    def __init__(self, why: Interruption) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class _Call:
    scope: asyncio.Timeout
    stopped: bool = False


class RunningLaunches:
    """At most one call per invocation and process."""

    def __init__(self) -> None:
        self._calls: dict[InvocationId, _Call] = {}

    @property
    def ids(self) -> Collection[InvocationId]:
        return self._calls.keys()

    @asynccontextmanager
    async def call(self, invocation_id: InvocationId, *, seconds: float) -> AsyncIterator[None]:
        """The block is cancelled after `seconds`, or by `stop`; then Interrupted is raised."""
        scope = asyncio.timeout(seconds)
        call = self._calls[invocation_id] = _Call(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise Interrupted(Interruption.STOPPED if call.stopped else Interruption.TIMED_OUT) from None
        finally:
            del self._calls[invocation_id]

    def stop(self, invocation_id: InvocationId) -> None:
        call = self._calls.get(invocation_id)
        if call is not None and not call.stopped and not call.scope.expired():
            call.stopped = True
            call.scope.reschedule(0)
