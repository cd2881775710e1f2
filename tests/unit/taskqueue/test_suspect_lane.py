"""How long suspects wait for each other. Time is virtual."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from ostinato.taskqueue.embedded.suspect_lane import SuspectLane
from ostinato.testing.virtual_time import VirtualClock, run_virtually


@dataclass
class LongRun:
    """A task that is marked already and never ends."""

    crashes: int
    label: str = "1 (letter)"
    is_alone: bool = True
    settled: bool = False


@dataclass
class Process:
    clock: VirtualClock
    running: int = 0
    started_at: list[float] = field(default_factory=list)

    def admits(self, _: object) -> bool:
        return True

    def run_alone(self, _: object) -> None:
        self.started_at.append(self.clock.monotonic())

    def settle(self, _: object, __: object) -> None:
        raise AssertionError("they never end")

    def resume(self) -> None:
        """Nothing waits."""


async def starts_of(count: int, crashes: int) -> list[float]:
    process = Process(VirtualClock(datetime(2030, 1, 1, tzinfo=UTC)))
    no_database: Any = None
    host: Any = process
    lane = SuspectLane(no_database, host, process.clock)
    for _ in range(count):
        task: Any = LongRun(crashes)
        lane.put(task)
    await process.clock.sleep(3600)
    return process.started_at


@pytest.mark.parametrize("crashes", [2, 3])
def test_however_many_suspects_wait_all_have_started_within_ten_seconds(crashes: int) -> None:
    """A thousand long runs once took a quarter of an hour, one per second."""
    starts = run_virtually(starts_of(1000, crashes))
    assert len(starts) == 1000
    assert starts[-1] < 11


def test_each_of_a_few_suspects_has_its_second() -> None:
    starts = run_virtually(starts_of(5, crashes=2))
    assert [round(at) for at in starts] == [0, 1, 2, 3, 4]
