"""A test of the tests: short walks through orders catch every bug that is planted, within a few seeds."""

from __future__ import annotations

import pytest

from tests.ci_share import ci_share
from tests.simulation.order_walk import take_order_walk
from tests.simulation.planted_reminder_bugs import REMINDER_PLANTS, Plant, freshness_does_not_matter
from tests.simulation.world import clone

ROUNDS = 4
# The plant's own seed first: it found the bug when it was planted.
OTHER_SEEDS = range(1, 21)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", ci_share(REMINDER_PLANTS), ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(
    postgres_server_url: str, database_template: str, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    plant(monkeypatch)
    for seed in dict.fromkeys((REMINDER_PLANTS[plant], *OTHER_SEEDS)):
        with clone(postgres_server_url, database_template) as url:
            if take_order_walk(url, seed, rounds=ROUNDS).problems:
                return
    pytest.fail("all these walks saw nothing wrong")


@pytest.mark.timeout(180)
def test_a_sweep_that_takes_what_is_fresh_does_no_harm(
    postgres_server_url: str, database_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    freshness_does_not_matter(monkeypatch)
    with clone(postgres_server_url, database_template) as url:
        assert not take_order_walk(url, 1, rounds=ROUNDS).problems
