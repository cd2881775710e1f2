"""A test of the tests: short walks through slots catch every bug that is planted, within a few seeds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.ci_share import ci_share
from tests.simulation.planted_slot_bugs import SLOT_PLANTS, Plant
from tests.simulation.slot_walk import take_slot_walk
from tests.simulation.world import clone

LENGTH = timedelta(minutes=12)
# The plant's own seed first: it found the bug when it was planted.
OTHER_SEEDS = range(1, 9)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", ci_share(SLOT_PLANTS), ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(
    postgres_server_url: str, database_template: str, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    plant(monkeypatch)
    first, jobs = SLOT_PLANTS[plant]
    for seed in dict.fromkeys((first, *OTHER_SEEDS)):
        with clone(postgres_server_url, database_template) as url:
            if take_slot_walk(url, seed, jobs=jobs, length=LENGTH).problems:
                return
    pytest.fail("all these walks saw nothing wrong")
