"""What an engine stands on: clock, randomness, pace, sockets. A process takes the defaults, a simulation its own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from ostinato.clock import Clock, SystemClock
from ostinato.scheduling.targets import HttpSpec
from ostinato.storage.transaction import Gate
from ostinato.taskqueue import WorkerSettings
from ostinato.telemetry.spans import Spans
from ostinato_engine.maintenance_loop import MaintenancePace
from ostinato_engine.targets.target import Target


@dataclass(frozen=True, slots=True)
class EnginePace:
    """How often the loops look when nothing wakes them."""

    look_every: timedelta = timedelta(seconds=1)  # at due schedules, deadlines, calls to stop
    reconcile_every: timedelta = timedelta(seconds=60)
    maintenance: MaintenancePace = field(default_factory=MaintenancePace)


def _terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class EngineHost:
    """`serves`: listens on its addresses. `keeps_partitions`: with a connection of its own, past the gate.

    `worker` gives the pace of the queue; the grace of its drain comes from the settings. `spans`: instead of those that
    the settings ask for. `http`: instead of calling URLs.
    """

    clock: Clock = field(default_factory=SystemClock)
    randomness: Random = field(default_factory=Random)
    pace: EnginePace = field(default_factory=EnginePace)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    gate: Gate | None = None
    serves: bool = True
    keeps_partitions: bool = True
    end_process: Callable[[], None] = _terminate
    spans: Spans | None = None
    http: Target[HttpSpec] | None = None
