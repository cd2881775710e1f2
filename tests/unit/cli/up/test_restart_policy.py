"""How soon something that died is started again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.cli.up.restart_policy import HEALTHY_AFTER, deaths_in_a_row, decide_restart_delay


@pytest.mark.parametrize(
    ("deaths", "seconds"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10_000, 30)]
)
def test_the_delay_doubles_up_to_half_a_minute(deaths: int, seconds: float) -> None:
    assert decide_restart_delay(deaths) == timedelta(seconds=seconds)


def test_a_quick_death_continues_the_row() -> None:
    assert deaths_in_a_row(3, HEALTHY_AFTER - timedelta(microseconds=1)) == 4


def test_the_death_of_one_that_was_healthy_begins_a_new_row() -> None:
    assert deaths_in_a_row(3, HEALTHY_AFTER) == 1
