"""Whether a process wants requests: not while it starts, not while it drains, not while its database is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ostinato.rpc.http_endpoint import NotReadyError

STARTING, DRAINING = "starting", "draining"


class Readiness:
    """The ready check of a process; give `check` to `open_http_endpoint`."""

    def __init__(self) -> None:
        self._reason = STARTING
        self._needed: Callable[[], Awaitable[None]] | None = None

    def serve(self, needed: Callable[[], Awaitable[None]]) -> None:
        """From now on ready whenever `needed` does not raise."""
        self._reason = ""
        self._needed = needed

    def drain(self) -> None:
        """Not ready any more, for good."""
        self._reason = DRAINING

    async def check(self) -> None:
        if self._reason or self._needed is None:
            raise NotReadyError(self._reason)
        await self._needed()
