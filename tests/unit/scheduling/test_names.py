"""Resource names, and the ids of triggers that are made from them."""

from __future__ import annotations

import pytest

from ostinato.scheduling.names import (
    ResourceNameError,
    invocation_name,
    is_job_id,
    is_project_id,
    job_name,
    parse_invocation_name,
    parse_job_name,
    parse_project_name,
    project_name,
)
from ostinato.scheduling.trigger import cron_trigger_id, noop_trigger_id, upstream_trigger_id

GREATEST = (1 << 63) - 1


@pytest.mark.parametrize("project", ["a", "shop", "s-9", "x" * 63])
def test_project_ids(project: str) -> None:
    assert is_project_id(project)
    assert parse_project_name(project_name(project)) == project


@pytest.mark.parametrize("project", ["", "9a", "-a", "Shop", "a_b", "x" * 64, "a\n", "-", "é"])
def test_what_is_no_project_id(project: str) -> None:
    assert not is_project_id(project)
    with pytest.raises(ResourceNameError, match=r"projects/\{project\}"):
        parse_project_name(f"projects/{project}")


@pytest.mark.parametrize("job", ["a", "Nightly report (EU) v1.2_x-y", ".", "x" * 100, " "])
def test_job_ids(job: str) -> None:
    assert is_job_id(job)
    assert parse_job_name(job_name("shop", job)) == ("shop", job)
    assert parse_invocation_name(invocation_name(job_name("shop", job), GREATEST)) == ("shop", job, GREATEST)


@pytest.mark.parametrize("job", ["", "a/b", "x" * 101, "a\n", "é", "a%20b", "a\tb"])
def test_what_is_no_job_id(job: str) -> None:
    assert not is_job_id(job)
    with pytest.raises(ResourceNameError, match=r"projects/\{project\}/jobs/\{job\}"):
        parse_job_name(f"projects/shop/jobs/{job}")


@pytest.mark.parametrize(
    "name", ["", "shop", "projects/shop", "projects/shop/jobs", "projects/shop/jobs/a/", "/projects/shop/jobs/a"]
)
def test_what_is_no_job_name(name: str) -> None:
    with pytest.raises(ResourceNameError):
        parse_job_name(name)


@pytest.mark.parametrize("number", ["", "0", "-1", "+1", "01", "1.0", "١", str(GREATEST + 1), "9" * 100, "1 "])
def test_what_is_no_invocation_id(number: str) -> None:
    with pytest.raises(ResourceNameError, match=r"invocations/\{id\}"):
        parse_invocation_name(f"projects/shop/jobs/a/invocations/{number}")


def test_ids_of_triggers() -> None:
    assert cron_trigger_id(17) == "cron:v1:17"
    assert upstream_trigger_id("projects/p/jobs/j/invocations/5") == "upstream:projects/p/jobs/j/invocations/5"
    assert noop_trigger_id(5, 0) == "noop:5:0"
