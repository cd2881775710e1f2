"""Whom a task is done for, where only its job is known."""

from __future__ import annotations

import pytest

from ostinato.jobflow.engine_tasks import fair_key_of_job


@pytest.mark.parametrize("job_id", [0, 1, 7, 1 << 31, (1 << 31) + 1, (1 << 62) + (1 << 31), (1 << 63) - 1, -1])
def test_a_jobs_fair_key_is_never_nobodys_and_fits_its_column(job_id: int) -> None:
    assert 1 <= fair_key_of_job(job_id) < 1 << 31


def test_jobs_that_differ_have_keys_that_differ() -> None:
    assert len({fair_key_of_job(job_id) for job_id in range(1, 10_000)}) == 9_999
