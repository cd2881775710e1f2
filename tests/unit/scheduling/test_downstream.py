"""Which ends of a run trigger which jobs."""

from __future__ import annotations

import pytest

from ostinato.scheduling.downstream import triggered_jobs
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import Downstream, TriggerOn

S = InvocationStatus
JOBS = [
    Downstream("after-success"),
    Downstream("after-failure", TriggerOn.FAILURE),
    Downstream("after-any", TriggerOn.FINISH),
]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (S.STARTING, ()),
        (S.RETRYING, ()),
        (S.RUNNING, ()),
        (S.SUCCEEDED, ("after-success", "after-any")),
        (S.FAILED, ("after-failure", "after-any")),
        (S.TIMED_OUT, ("after-failure", "after-any")),
        (S.ABORTED, ("after-any",)),
    ],
)
def test_by_status(status: InvocationStatus, expected: tuple[str, ...]) -> None:
    assert triggered_jobs(JOBS, status) == expected


def test_a_job_named_twice_is_triggered_once() -> None:
    assert triggered_jobs([Downstream("a"), Downstream("a", TriggerOn.FINISH)], S.SUCCEEDED) == ("a",)
