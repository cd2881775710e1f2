"""Transactional reminders under faults: as many random walks as fit into the time that CI has for them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.simulation.order_walk import take_order_walk
from tests.simulation.test_random_walks import simulate
from tests.simulation.world import clone

SECONDS = 12
LEAST_WALKS = 2  # one for each sweeper


@pytest.mark.timeout(300)
def test_what_was_committed_is_executed_and_nothing_else(
    postgres_server_url: str, record_property: Callable[[str, object], None]
) -> None:
    """Each walk takes more than 500 orders, 16 at a time; three of ten steps fail."""
    limits = ("--seconds", str(SECONDS), "--least", str(LEAST_WALKS))
    run = simulate(postgres_server_url, "--orders", *limits, seconds=280)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout.splitlines()[-1]
    record_property("summary", f"reminders: {summary}")
    walks = re.match(r"(\d+) walks", summary)
    assert walks is not None
    assert int(walks[1]) >= LEAST_WALKS


@pytest.mark.timeout(180)
def test_a_seed_taken_twice_is_the_same_walk(postgres_server_url: str, database_template: str) -> None:
    traces = []
    for _ in range(2):
        with clone(postgres_server_url, database_template) as url:
            traces.append(take_order_walk(url, 3, rounds=4).trace)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 500
