"""What a scan leads to: which reminders are submitted, and where to look on."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from ostinato.taskqueue.sweeping.partition import Partition
from ostinato.taskqueue.sweeping.scan import ScanRange, ScanStatus, conclude_scan
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions


@dataclass(frozen=True)
class Found:
    id: UUID
    is_due: bool = True


def found(*numbers: int, due: bool = True) -> list[Found]:
    return [Found(UUID(int=number), due) for number in numbers]


WHOLE = Partition(0, 1000)


def test_a_short_answer_is_all_there_is() -> None:
    result = conclude_scan(ScanRange(WHOLE, tasks_per_scan=3), found(1, 2))
    assert (result.status, result.follow_ups, result.is_complete) == (ScanStatus.OK, (), True)
    assert [key.int for key in result.due] == [1, 2]


def test_a_full_answer_is_followed_up_even_if_it_happened_to_be_all() -> None:
    result = conclude_scan(ScanRange(WHOLE, tasks_per_scan=2), found(1, 499))
    assert result.status is ScanStatus.LIMIT
    assert result.follow_ups == (Partition(500, 1000),)


def test_a_full_answer_that_ends_with_the_last_id_needs_no_follow_up() -> None:
    result = conclude_scan(ScanRange(WHOLE, tasks_per_scan=1), found(999))
    assert (result.status, result.follow_ups, result.is_complete) == (ScanStatus.LIMIT, (), True)


def test_reminders_that_are_not_due_count_for_the_limit_and_the_density_and_are_not_submitted() -> None:
    scanned = ScanRange(WHOLE, tasks_per_scan=4)
    read = [*found(10, 20, due=False), *found(30), *found(99, due=False)]
    result = conclude_scan(scanned, read)
    assert [key.int for key in result.due] == [30]
    assert result.status is ScanStatus.LIMIT
    assert len(result.follow_ups) == 9  # 4 in the first 100: 36 in the other 900, 4 in each


def test_a_timeout_without_any_answer_is_tried_in_smaller_ranges() -> None:
    result = conclude_scan(ScanRange(WHOLE, secondary_scan_shards=4), [], ScanStatus.TIMEOUT)
    assert result.status is ScanStatus.TIMEOUT
    assert result.follow_ups == WHOLE.split(4)
    assert not result.is_complete


def test_a_failure_is_left_to_the_next_sweep() -> None:
    result = conclude_scan(ScanRange(WHOLE), [], ScanStatus.FAIL)
    assert (result.status, result.follow_ups, result.is_complete) == (ScanStatus.FAIL, (), False)


@pytest.mark.parametrize(("level", "goes_on"), [(0, True), (1, True), (2, False)])
def test_the_third_level_is_the_last(level: int, goes_on: bool) -> None:
    result = conclude_scan(ScanRange(WHOLE, level, tasks_per_scan=1), found(499))
    assert bool(result.follow_ups) == goes_on
    assert bool(result.given_up) != goes_on
    assert result.is_complete == goes_on


def test_what_is_not_positive_or_empty_stands_for_the_default() -> None:
    assert (
        SweepOptions(shards=0, tasks_per_scan=-1, secondary_scan_shards=0, task_queue="", lessor="") == SweepOptions()
    )
    options = SweepOptions()
    assert (options.shards, options.tasks_per_scan, options.secondary_scan_shards) == (16, 2048, 16)
    assert (options.task_queue, options.task_prefix, options.task_host) == ("tq-sweep", "/internal/tasks", "")
