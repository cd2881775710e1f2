"""The measurements, in the order of the report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.comparison import Comparison
from benchmarks.laboratory import Laboratory
from benchmarks.scenarios.adding import add_concurrently, add_in_bulk, add_one_at_a_time
from benchmarks.scenarios.business import add_in_business_transactions
from benchmarks.scenarios.care import crash_a_worker, rest
from benchmarks.scenarios.draining import drain, drain_under_strain
from benchmarks.scenarios.herd import due_at_once
from benchmarks.scenarios.latency import commit_to_start
from benchmarks.scenarios.scheduling import run_the_scheduler
from benchmarks.sizes import Sizes

Scenario = Callable[[Laboratory, Sizes], Awaitable[list[Comparison]]]

SCENARIOS: dict[str, Scenario] = {
    "add1": add_one_at_a_time,
    "add10": add_concurrently,
    "bulk": add_in_bulk,
    "drain": drain,
    "strain": drain_under_strain,
    "latency": commit_to_start,
    "herd": due_at_once,
    "business": add_in_business_transactions,
    "crash": crash_a_worker,
    "idle": rest,
    "scheduler": run_the_scheduler,
}
# Not part of the four minutes.
LONG_ONES = ("strain",)
