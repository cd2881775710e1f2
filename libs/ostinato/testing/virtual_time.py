"""An event loop whose time is virtual: when nothing is ready and no answer is awaited, it jumps to the next timer.

A week passes in the time that its work takes. The steps to the outside are let through one at a time by `Steps`,
and only when nothing else can run, so that the order of everything follows from a seed.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from itertools import count, repeat
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
# Real seconds to wait for an answer before asking whether it can come at all.
_PATIENCE = 0.02


class Stalled(Exception):  # noqa: N818 - what the simulation ran into
    """Nothing is ready, nothing is awaited and no timer is set: nothing will ever happen again."""


class Steps(Protocol):
    """What waits for its turn to reach the outside, and what is under way there."""

    def is_under_way(self) -> bool:
        """An answer is expected that nothing here holds up."""
        ...

    def is_early(self, descriptor: int) -> bool:
        """What arrives there answers a step that waited for a lock: it has to wait for the answer that is expected."""
        ...

    def look_for_locks(self) -> None:
        """The answer takes long: it may wait for something that only another step will free."""
        ...

    def let_one_through(self) -> float | None:
        """Starts one waiting step and says how long it takes, in virtual seconds; None if none waits."""
        ...


# Takes what should have run now, if it belongs to a process that stands still; false if it doesn't.
Hold = Callable[[asyncio.Handle, contextvars.Context], bool]
# Whether what runs in this context belongs to such a process.
StandsStill = Callable[[contextvars.Context], bool]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at time 0. `hold` is asked before anything is run.

    With `keeps_order`, of several timers for one moment the one that was set first comes first. The event loop itself
    knows no order among them: it hangs on how often the loop came round.
    """

    def __init__(self, steps: Steps, hold: Hold, stands_still: StandsStill, *, keeps_order: bool = False) -> None:
        self._virtual_now = 0.0
        self._hold = hold
        self._stands_still = stands_still
        self._timers = count() if keeps_order else repeat(0)
        super().__init__(_VirtualSelector(self, steps))
        # Timers this close are due. Must exceed the spacing of floats, which is 4 ns after a year.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        self._virtual_now += seconds

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        within = contextvars.copy_context() if context is None else context  # an empty one is false
        handle = asyncio.Handle(callback, args, self, within)
        if self._hold(handle, within):
            return handle
        return super().call_soon(callback, *args, context=within)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        timer.number = next(self._timers)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined] # noqa: SLF001 - as the event loop does it
        return timer

    def is_unheeded(self, key: selectors.SelectorKey) -> bool:
        """Whoever waits for it stands still. It stays there, so that it would keep time from passing."""
        handles = [handle for handle in key.data if handle is not None]
        return bool(handles) and all(self._stands_still(handle._context) for handle in handles)  # noqa: SLF001

    def run_held(self, handle: asyncio.Handle) -> None:
        """What was held runs after all, unless it was cancelled meanwhile."""
        super().call_soon(_run_unless_cancelled, handle)


class _Timer(asyncio.TimerHandle):
    number = 0  # those of one number are alike

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.number) < (other.when(), other.number)


class NoSteps:
    """For what reaches nothing outside."""

    def is_under_way(self) -> bool:
        return False

    def is_early(self, descriptor: int) -> bool:  # noqa: ARG002
        return False

    def look_for_locks(self) -> None:
        """Nobody holds any."""

    def let_one_through(self) -> float | None:
        return None


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Runs what reaches nothing outside, from time 0 on."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(NoSteps(), lambda *_: False, lambda _: False)) as runner:
        return runner.run(work)


def _run_unless_cancelled(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()  # noqa: SLF001 - in its own context, as the event loop does it


class VirtualClock:
    """The `Clock` of everything that lives in a VirtualTimeLoop, which begins at `start`."""

    def __init__(self, start: datetime) -> None:
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class SkewedClock(VirtualClock):
    """A process's own clock, wrong by `skew`. It runs as fast as time passes, so its monotonic time is right."""

    def __init__(self, clock: VirtualClock, skew: timedelta) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> datetime:
        return self._clock.now() + self._skew


class _VirtualSelector(selectors.BaseSelector):
    """Where an event loop waits; here, where its time passes."""

    def __init__(self, loop: VirtualTimeLoop, steps: Steps) -> None:
        self._loop = loop
        self._steps = steps
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []  # what is ready comes first: an answer that is in already must not overtake it
        while self._steps.is_under_way():
            if events := self._expected(_PATIENCE):
                return events
            self._steps.look_for_locks()
        if (duration := self._steps.let_one_through()) is not None:
            self._loop.advance(duration)
            return []
        if events := self._expected(0):
            return events
        if timeout is None:
            raise Stalled
        self._loop.advance(timeout)
        return []

    def _expected(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        return [
            event
            for event in self._real.select(seconds)
            if not self._steps.is_early(event[0].fd) and not self._loop.is_unheeded(event[0])
        ]

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
