"""The calls that this process is in the middle of, so that a run that ends otherwise can stop its call."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from types import TracebackType

from ostinato.scheduling.invocation_id import InvocationId


class Interruption(StrEnum):
    """Why a call did not get to its end."""

    TIMED_OUT = "TIMED_OUT"  # the run's timeout passed
    STOPPED = "STOPPED"  # the run was ended by somebody else


class Interrupted(Exception):  # noqa: N818 - expected
    def __init__(self, why: Interruption) -> None:
        super().__init__(why)
        self.why = why


class RunningLaunches:
    """At most one call per invocation and process."""

    def __init__(self) -> None:
        self._calls: dict[InvocationId, _Call] = {}

    @property
    def ids(self) -> Collection[InvocationId]:
        return self._calls.keys()

    def call(self, invocation_id: InvocationId, *, seconds: float) -> AbstractAsyncContextManager[None]:
        """The block is cancelled after `seconds`, or by `stop`; then Interrupted is raised."""
        return _Call(self._calls, invocation_id, asyncio.timeout(seconds))

    def stop(self, invocation_id: InvocationId) -> None:
        call = self._calls.get(invocation_id)
        if call is not None and not call.stopped and not call.scope.expired():
            call.stopped = True
            call.scope.reschedule(0)


class _Call(AbstractAsyncContextManager[None]):
    """A call under way. No generator: this is entered for every launch."""

    def __init__(self, calls: dict[InvocationId, _Call], invocation_id: InvocationId, scope: asyncio.Timeout) -> None:
        self.scope = scope
        self.stopped = False
        self._calls = calls
        self._id = invocation_id

    async def __aenter__(self) -> None:
        self._calls[self._id] = self
        await self.scope.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise Interrupted(Interruption.STOPPED if self.stopped else Interruption.TIMED_OUT) from None
        finally:
            del self._calls[self._id]
