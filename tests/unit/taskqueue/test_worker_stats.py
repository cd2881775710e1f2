"""Counting times by powers of two."""

from __future__ import annotations

import pytest

from ostinato.taskqueue.embedded.worker_stats import BUCKET_ENDS, TimeHistogram, WorkerStats


@pytest.mark.parametrize(
    ("seconds", "end"),
    [(0.0, 2**-13), (2**-13 * 0.99, 2**-13), (2**-13, 2**-12), (0.9, 1.0), (1.0, 2.0), (1.9, 2.0), (4000.0, 4096.0)],
)
def test_a_time_is_counted_below_the_end_of_its_bucket(seconds: float, end: float) -> None:
    times = TimeHistogram()
    times.add(seconds, 3)
    assert times.counts[BUCKET_ENDS.index(end)] == 3
    assert sum(times.counts) == 3
    assert times.total == pytest.approx(3 * seconds)


def test_what_is_longer_than_all_buckets_is_counted_too() -> None:
    times = TimeHistogram()
    times.add(1e9)
    assert times.counts[-1] == 1


def test_a_clock_that_goes_back_makes_no_negative_time() -> None:
    times = TimeHistogram()
    times.add(-5.0)
    assert (times.counts[0], times.total) == (1, 0.0)


def test_a_class_that_nobody_handles_counts_among_all() -> None:
    stats = WorkerStats()
    stats.of(7).claimed += 1
    assert (stats.unknown.claimed, stats.claimed) == (1, 1)
