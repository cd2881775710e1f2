"""Slots of many schedules in nights in which clocks change: as many walks as fit into the time that CI has for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest

from tests.simulation.slot_walk import take_slot_walk
from tests.simulation.world import clone

SECONDS = 12
JOBS = 200  # as many as a small project has
LENGTH = timedelta(minutes=30)


@pytest.mark.timeout(300)
def test_no_slot_is_missed_or_doubled_and_every_skip_is_explained(
    postgres_server_url: str, database_template: str, record_property: Callable[[str, object], None]
) -> None:
    """Engines die, stall and go away with wrong clocks while people edit, pause and resume."""
    ends_at = time.monotonic() + SECONDS
    slots = 0
    for seed in count(1):
        with clone(postgres_server_url, database_template) as url:
            result = take_slot_walk(url, seed, jobs=JOBS, length=LENGTH)
        assert result.problems == (), f"seed {seed}: {result.problems[:10]}"
        slots += result.slots
        if time.monotonic() > ends_at:
            record_property("summary", f"slots: {slots:,} in {seed} walks")
            break
    assert slots > 1000


@pytest.mark.timeout(180)
def test_a_seed_taken_twice_is_the_same_walk(postgres_server_url: str, database_template: str) -> None:
    results = []
    for _ in range(2):
        with clone(postgres_server_url, database_template) as url:
            results.append(take_slot_walk(url, 2, jobs=12, length=timedelta(minutes=12)))
    assert results[0].trace == results[1].trace
    assert len(results[0].trace) > 500
    assert results[0].problems == ()
