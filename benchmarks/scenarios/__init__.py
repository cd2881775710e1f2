"""The measurements, in the order of the report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.comparison import Comparison
from benchmarks.laboratory import Laboratory
from benchmarks.scenarios.adding import add_concurrently, add_in_bulk, add_one_at_a_time
from benchmarks.scenarios.business import add_in_business_transactions
from benchmarks.scenarios.care import crash_a_worker, rest_engine, rest_worker
from benchmarks.scenarios.crons import fire_at_once
from benchmarks.scenarios.draining import drain, drain_under_strain
from benchmarks.scenarios.fleet import sweep_with_many_engines
from benchmarks.scenarios.herd import due_at_once
from benchmarks.scenarios.latency import commit_to_start, commit_to_start_by_polling
from benchmarks.scenarios.pinning import work_while_pinned
from benchmarks.scenarios.remote import submit_after_commits, sweep_an_empty_table, sweep_stale_reminders
from benchmarks.scenarios.scheduling import run_a_hot_job, run_many_jobs
from benchmarks.scenarios.slots import find_next_slots
from benchmarks.sizes import Sizes

Scenario = Callable[[Laboratory, Sizes], Awaitable[list[Comparison]]]

QUEUE: dict[str, Scenario] = {
    "add1": add_one_at_a_time,
    "add10": add_concurrently,
    "bulk": add_in_bulk,
    "drain": drain,
    "strain": drain_under_strain,
    "latency": commit_to_start,
    "polling": commit_to_start_by_polling,
    "herd": due_at_once,
    "business": add_in_business_transactions,
    "pinned": work_while_pinned,
    "crash": crash_a_worker,
    "idle": rest_worker,
}
ENGINE: dict[str, Scenario] = {
    "jobs": run_many_jobs,
    "hot": run_a_hot_job,
    "crons": fire_at_once,
    "slots": find_next_slots,
    "rest": rest_engine,
}
REMINDERS: dict[str, Scenario] = {
    "submits": submit_after_commits,
    "sweep": sweep_stale_reminders,
    "nothing": sweep_an_empty_table,
    "fleet": sweep_with_many_engines,
}
SCENARIOS = QUEUE | ENGINE | REMINDERS
GROUPS = {"queue": list(QUEUE), "engine": list(ENGINE), "reminders": list(REMINDERS)}
