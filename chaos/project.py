"""The jobs that chaos runs: of every kind, each with something that can be counted afterwards."""

from __future__ import annotations

PROJECT = "chaos"

# Many of each, so that what piles up while nobody works stays below what a job keeps pending.
COPIES = 4

_ONCE = """
project: chaos
jobs:
  - {id: tick-noop, schedule: every 1s, noop: {}, triggers: [after-tick]}
  - {id: after-tick, noop: {}}
  - id: tick-calling
    schedule: every 1s
    http: {url: "TARGET/work"}
    triggering_policy: {max_concurrent_invocations: 2}
  - id: tick-reporting
    schedule: every 1s
    http: {url: "TARGET/report", multistage: true}
    timeout: 10m
    triggering_policy: {max_concurrent_invocations: 3}
  - {id: interval, schedule: with 1s interval, noop: {}}
"""
_EACH = """
  - {id: noop-N, noop: {}, triggering_policy: {max_concurrent_invocations: 5, max_batch_size: 5}}
  - {id: batched-N, noop: {}}
  - id: sleeping-N
    noop: {sleep: 300ms}
    triggering_policy: {max_concurrent_invocations: 2, max_batch_size: 50}
  - id: calling-N
    http: {url: "TARGET/work"}
    triggering_policy: {max_concurrent_invocations: 3, max_batch_size: 50}
    triggers: [after-calling-N]
  - id: after-calling-N
    noop: {}
    triggering_policy: {max_concurrent_invocations: 5, max_batch_size: 3}
    downstream: [{job: after-that-N, trigger_on: FINISH}]
  - id: after-that-N
    http: {url: "TARGET/work"}
    triggering_policy: {max_concurrent_invocations: 2}
  - id: reporting-N
    http: {url: "TARGET/report", multistage: true}
    timeout: 10m
    triggering_policy: {max_concurrent_invocations: 3, max_batch_size: 50}
    triggers: [after-reporting-N]
  - {id: after-reporting-N, noop: {}}
  - id: failing-N
    http: {url: "TARGET/fail"}
    retry: {max_attempts: 2, min_backoff: 1s, max_backoff: 2s}
    triggering_policy: {max_concurrent_invocations: 3, max_batch_size: 50}
    downstream: [{job: after-failing-N, trigger_on: FAILURE}]
  - {id: after-failing-N, noop: {}}
"""


def _copies(*jobs: str) -> tuple[str, ...]:
    return tuple(f"{job}-{number}" for job in jobs for number in range(COPIES))


# What the emitter triggers; the others follow from these or from their schedules.
TRIGGERED = _copies("noop", "batched", "sleeping", "calling", "reporting", "failing")
EVERY_SECOND = ("tick-noop", "tick-calling", "tick-reporting")
SCHEDULED = (*EVERY_SECOND, "interval")
# Every run of them ends in FAILED and is retried once; no run of any other job may.
MEANT_TO_FAIL = _copies("failing")
# (upstream, downstream): every run of the first ends in the way that triggers the second.
FOLLOWS = (
    ("tick-noop", "after-tick"),
    *zip(_copies("calling"), _copies("after-calling"), strict=True),
    *zip(_copies("after-calling"), _copies("after-that"), strict=True),
    *zip(_copies("reporting"), _copies("after-reporting"), strict=True),
    *zip(_copies("failing"), _copies("after-failing"), strict=True),
)


def config(target: str) -> str:
    """`target` is the base URL of the http target."""
    text = _ONCE + "".join(_EACH.replace("-N", f"-{number}") for number in range(COPIES))
    return text.replace("TARGET", target)


def resource_name(job: str) -> str:
    return f"projects/{PROJECT}/jobs/{job}"
