"""A random walk through the slots of hundreds of jobs in a night in which clocks change, and its verdict: none is
missed, none doubled, every one that was skipped is explained. Everything in it follows from the seed.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from ostinato.testing.invariants import find_violations
from ostinato.testing.simulation import open_simulation
from tests.simulation.audit import install_audit
from tests.simulation.slot_verdicts import judge_slots
from tests.simulation.slot_wanderer import JOBS, LENGTH, SlotWanderer, start_of
from tests.simulation.walk import WalkResult, alarms, on_database

CHECK_EVERY = 5000  # steps


def take_slot_walk(url: str, seed: int, *, jobs: int = JOBS, length: timedelta = LENGTH) -> WalkResult:
    """`url` is a fresh migrated database."""
    asyncio.run(on_database(url, install_audit))
    with alarms() as logged, open_simulation(url, seed=seed, start=start_of(seed, length)) as simulation:
        simulation.check_between_steps(find_violations, every=CHECK_EVERY)
        wanderer = SlotWanderer(simulation, jobs=jobs, length=length)
        simulation.run(wanderer.wander())
        problems = [*simulation.violations, *wanderer.problems]
    slots = 0
    if not problems:
        verdict = asyncio.run(on_database(url, partial(judge_slots, story=wanderer.story)))
        slots, problems = verdict.slots, verdict.problems
    return WalkResult(seed, tuple(simulation.trace), (*problems, *logged), slots)
