"""Which answer means what, and when a task dies."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.taskqueue.cloud_tasks.push_answers import decide_end
from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.task_class import Retry

UNLIMITED = Retry()
THREE = Retry(max_attempts=3)


@pytest.mark.parametrize(
    ("outcome", "retry", "failures", "status", "excused", "buried"),
    [
        (Outcome.done(), THREE, 2, 200, False, False),
        (Outcome(Verdict.IGNORE), THREE, 0, 204, False, False),
        (Outcome(Verdict.RETRY), UNLIMITED, 1000, 500, False, False),
        (Outcome(Verdict.RETRY), THREE, 1, 500, False, False),
        (Outcome(Verdict.RETRY), THREE, 2, 200, False, True),
        (Outcome(Verdict.DEAD), THREE, 0, 202, False, True),
        (Outcome(Verdict.RETRY_LATER, delay=timedelta(1)), THREE, 2, 409, True, False),
        (Outcome(Verdict.OVERLOADED), THREE, 2, 429, True, False),
        (Outcome(Verdict.RELEASE), THREE, 2, 500, True, False),
        (Outcome(Verdict.LOST), THREE, 2, 500, True, False),
        (Outcome.again(), THREE, 2, 409, True, False),
    ],
)
def test_each_end_has_its_answer(
    outcome: Outcome, retry: Retry, failures: int, status: int, excused: bool, buried: bool
) -> None:
    end = decide_end(outcome, retry, failures=failures)
    assert (end.answer.status, end.excused, end.buried) == (status, excused, buried)
