"""Walks by their seeds, one after the other or several at a time, each on a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from enum import Enum
from itertools import islice
from multiprocessing import get_context

from tests.simulation.order_walk import take_order_walk
from tests.simulation.slot_walk import take_slot_walk
from tests.simulation.walk import WalkResult, take_walk
from tests.simulation.world import clone

Walk = Callable[[int], WalkResult]


class Kind(Enum):
    """What a walk goes through."""

    RUNS = "runs"  # all that a scheduler does with a few jobs
    ORDERS = "orders"  # transactional reminders
    SLOTS = "slots"  # the schedules of hundreds of jobs


_WALKS: dict[Kind, Callable[[str, int], WalkResult]] = {
    Kind.RUNS: take_walk,
    Kind.ORDERS: take_order_walk,
    Kind.SLOTS: take_slot_walk,
}


def walk_of_seed(server_url: str, template: str, seed: int, *, kind: Kind) -> WalkResult:
    with clone(server_url, template) as url:
        return _WALKS[kind](url, seed)


@contextmanager
def walks_of(walk: Walk, seeds: range, jobs: int) -> Iterator[Iterator[WalkResult]]:
    """In the order of the seeds. With more than one job `walk` goes to other processes."""
    if jobs == 1:
        yield map(walk, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            yield _in_order(pool, walk, seeds, jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, walk: Walk, seeds: range, jobs: int) -> Iterator[WalkResult]:
    following = iter(seeds)
    under_way = [pool.submit(walk, seed) for seed in islice(following, jobs + 1)]
    while under_way:
        yield under_way.pop(0).result()
        under_way += [pool.submit(walk, seed) for seed in islice(following, 1)]
