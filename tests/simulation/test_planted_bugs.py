"""A test of the tests: the walks catch every bug that is planted, within a few seeds."""

from __future__ import annotations

import pytest

from tests.ci_share import ci_share
from tests.simulation.planted_bugs import PLANTS, Plant
from tests.simulation.walk import take_walk
from tests.simulation.world import clone

# The plant's own seed first: it found the bug when it was planted.
OTHER_SEEDS = range(1, 41)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", ci_share(PLANTS), ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(
    postgres_server_url: str, database_template: str, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    plant(monkeypatch)
    for seed in dict.fromkeys((PLANTS[plant], *OTHER_SEEDS)):
        with clone(postgres_server_url, database_template) as url:
            if take_walk(url, seed).problems:
                return
    pytest.fail("all these walks saw nothing wrong")
