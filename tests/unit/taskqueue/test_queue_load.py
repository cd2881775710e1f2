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


def test_a_queue_pauses_longer_each_time_its_tasks_say_overloaded_and_a_success_resets_that() -> None:
    load = QueueLoad([OneBatchAtATime(0, free=5)], QueueState(version=1))
    pauses: list[float] = []
    now = 100.0
    for verdict in [*[Verdict.OVERLOADED] * 8, Verdict.DONE, Verdict.OVERLOADED]:
        load.ended(now, verdict)
        pauses.append(load.overload_left(now).total_seconds())
        assert bool(load.room(now)) == (verdict is Verdict.DONE)
        now += 60
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 0, 1]


def test_tasks_that_say_overloaded_during_the_pause_do_not_make_it_longer() -> None:
    """Each waited twice as long as its queue: the pause of the next time was taken for that of this one."""
    load = QueueLoad([OneBatchAtATime(0, free=5)], QueueState(version=1))
    load.ended(100.0, Verdict.OVERLOADED)
    load.ended(100.25, Verdict.OVERLOADED)
    assert load.overload_left(100.25).total_seconds() == 0.75
    assert load.room(101.0) > 0
