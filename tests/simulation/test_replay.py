"""A seed tells everything: run again, it gives the same steps in the same order at the same virtual times."""

from __future__ import annotations

from ostinato.testing.faults import CrashPlan
from tests.simulation.test_crashes import story
from tests.simulation.world import clone, simulated


def trace_of(server_url: str, template: str, seed: int) -> list[str]:
    with clone(server_url, template) as url, simulated(url, seed) as simulation:
        simulation.run(story(simulation, CrashPlan(60, after=True)))
        return simulation.trace


def test_one_seed_gives_one_trace_and_another_seed_another(postgres_server_url: str, database_template: str) -> None:
    once = trace_of(postgres_server_url, database_template, seed=3)
    assert trace_of(postgres_server_url, database_template, seed=3) == once
    assert len(once) > 500
    assert trace_of(postgres_server_url, database_template, seed=4) != once
