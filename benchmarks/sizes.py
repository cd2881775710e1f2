"""How much of everything: by default a few minutes for the queue and as much for the engine, on two cores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    repetitions: int = 3
    adds: int = 3_000
    concurrent_adds: int = 10_000
    bulk: int = 50_000
    backlog: int = 20_000
    shared_backlog: int = 100_000  # by one process and by two: small ones mostly measure how processes start
    latency_seconds: float = 4.0
    herd: int = 10_000
    herd_future: int = 200_000
    herd_notice: float = 2.0  # seconds between the adds and their due time
    growth: int = 100_000  # rows behind and ahead of a drain
    polling_seconds: float = 12.0
    polling_pairs: int = 6  # idle adders and workers beside each other: each waits far longer than it works
    pinned_seconds: float = 6.0  # of each of three overlapping transactions
    business: int = 8_000
    crashed: int = 200
    reminders: int = 4_000
    stale_reminders: int = 20_000
    fleet_reminders: int = 100_000
    idle_seconds: float = 12.0
    trigger_seconds: float = 4.0
    jobs: int = 3_000
    hot: int = 600
    crons: tuple[int, ...] = (10_000,)


DEFAULT = Sizes()
FULL = Sizes(
    repetitions=5,
    adds=10_000,
    concurrent_adds=30_000,
    bulk=200_000,
    backlog=50_000,
    shared_backlog=200_000,
    growth=1_000_000,
    latency_seconds=20.0,
    polling_seconds=30.0,
    pinned_seconds=120.0,
    business=24_000,
    reminders=10_000,
    stale_reminders=1_000_000,
    idle_seconds=20.0,
    trigger_seconds=20.0,
    jobs=10_000,
    crons=(10_000, 100_000),
)
# Enough to see that every part still works; the numbers mean nothing.
TINY = Sizes(
    repetitions=1,
    adds=20,
    concurrent_adds=50,
    bulk=2_000,
    backlog=500,
    shared_backlog=600,
    latency_seconds=0.4,
    herd=100,
    herd_future=500,
    herd_notice=0.5,
    growth=1_000,
    polling_seconds=2.6,
    polling_pairs=1,
    pinned_seconds=0.4,
    business=80,
    crashed=5,
    reminders=200,
    stale_reminders=300,
    fleet_reminders=500,
    idle_seconds=1.0,
    trigger_seconds=0.4,
    jobs=20,
    hot=15,
    crons=(30,),
)
