"""The jobs that chaos runs: of every kind, each with something that can be counted afterwards."""

from __future__ import annotations

PROJECT = "chaos"

_TEMPLATE = """
project: chaos
jobs:
  - {id: noop-a, noop: {}, triggering_policy: {max_concurrent_invocations: 3, max_batch_size: 10}}
  - {id: noop-b, noop: {}, triggering_policy: {max_concurrent_invocations: 5, max_batch_size: 5}}
  - id: sleeping
    noop: {sleep: 300ms}
    triggering_policy: {max_concurrent_invocations: 4, max_batch_size: 50}
  - id: calling
    http: {url: "TARGET/work"}
    triggering_policy: {max_concurrent_invocations: 5, max_batch_size: 20}
    triggers: [after-calling]
  - id: after-calling
    noop: {}
    triggering_policy: {max_concurrent_invocations: 5, max_batch_size: 3}
    downstream: [{job: after-that, trigger_on: FINISH}]
  - id: after-that
    http: {url: "TARGET/work"}
    triggering_policy: {max_concurrent_invocations: 2}
  - id: reporting
    http: {url: "TARGET/report", multistage: true}
    timeout: 10m
    triggering_policy: {max_concurrent_invocations: 10, max_batch_size: 20}
    triggers: [after-reporting]
  - {id: after-reporting, noop: {}}
  - id: failing
    http: {url: "TARGET/fail"}
    triggering_policy: {max_concurrent_invocations: 3, max_batch_size: 20}
    downstream: [{job: after-failing, trigger_on: FAILURE}]
  - {id: after-failing, noop: {}}
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

# What the emitter triggers; the others follow from these or from their schedules.
TRIGGERED = ("noop-a", "noop-b", "sleeping", "calling", "reporting", "failing")
EVERY_SECOND = ("tick-noop", "tick-calling", "tick-reporting")
SCHEDULED = (*EVERY_SECOND, "interval")
# Every run of them ends in FAILED; no run of any other job may.
MEANT_TO_FAIL = ("failing",)
# (upstream, downstream): every run of the first ends in the way that triggers the second.
FOLLOWS = (
    ("calling", "after-calling"),
    ("after-calling", "after-that"),
    ("reporting", "after-reporting"),
    ("failing", "after-failing"),
    ("tick-noop", "after-tick"),
)


def config(target: str) -> str:
    """`target` is the base URL of the http target."""
    return _TEMPLATE.replace("TARGET", target)


def resource_name(job: str) -> str:
    return f"projects/{PROJECT}/jobs/{job}"
