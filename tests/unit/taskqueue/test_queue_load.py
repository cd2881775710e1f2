"""How much of a queue is claimed ahead of the runners."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.taskqueue.embedded.queue_load import QueueLoad
from ostinato.taskqueue.embedded.queue_state import QueueState
from ostinato.taskqueue.outcome import Verdict

BATCH = 500


@dataclass
class OneBatchAtATime:
    """Its runner is busy with `in_batches` tasks."""

    in_batches: int
    free: int = 0
    buffered: int = 0


def size_of_later_batches(seconds_each: float, *, first: int, rounds: int) -> int:
    """Of a backlog without end: each batch is what was claimed while the one before it ran."""
    executor = OneBatchAtATime(first)
    load = QueueLoad([executor], QueueState(version=1))
    now = 100.0
    for _ in range(rounds):
        load.room(now)
        now += seconds_each
        for _ in range(executor.in_batches):
            load.ended(now, Verdict.DONE)
        executor.in_batches = min(BATCH, max(1, load.room(now)))
    return executor.in_batches


def test_batches_grow_with_the_backlog_however_long_each_takes() -> None:
    """They shrank to eight tasks on a slow machine, and a backlog was worked off at eight per batch."""
    for seconds in (0.005, 0.05, 0.1, 0.3):
        assert size_of_later_batches(seconds, first=8, rounds=30) == BATCH


def test_while_long_batches_run_little_is_hidden_from_other_processes() -> None:
    assert size_of_later_batches(10, first=20, rounds=30) <= 2
