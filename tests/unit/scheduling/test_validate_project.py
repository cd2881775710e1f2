"""What the jobs of a project may say together."""

from __future__ import annotations

import pytest

from ostinato.scheduling.job_definition import Downstream, JobDefinition, TriggerOn
from ostinato.scheduling.validate_project import MAX_JOBS, validate_project


def job(name: str, *downstream: str) -> JobDefinition:
    return JobDefinition(name, downstream=tuple(Downstream(other) for other in downstream))


def broken(*jobs: JobDefinition) -> list[tuple[str, str]]:
    return [(v.path, v.rule) for v in validate_project(jobs, [f"jobs[{n}]" for n in range(len(jobs))])]


def test_a_graph_without_cycles_is_allowed() -> None:
    assert broken(job("a", "b", "c"), job("b", "d"), job("c", "d"), job("d")) == []


def test_no_jobs_are_allowed() -> None:
    assert broken() == []


def test_mistakes_of_single_jobs_are_included() -> None:
    assert [path for path, _ in broken(job("a"), JobDefinition("b", schedule="blah"))] == ["jobs[1].schedule"]


def test_an_id_given_twice() -> None:
    assert broken(job("a"), job("b"), job("a"), job("a")) == [
        ("jobs[2].id", "'a' is already the id of jobs[0]"),
        ("jobs[3].id", "'a' is already the id of jobs[0]"),
    ]


def test_jobs_without_an_id_are_not_also_duplicates() -> None:
    assert broken(job(""), job("")) == [("jobs[0].id", "is required"), ("jobs[1].id", "is required")]


def test_an_unknown_downstream_job() -> None:
    assert broken(job("a", "nope")) == [("jobs[0].downstream[0]", "there is no job 'nope' in this project")]


def test_a_downstream_name_that_no_job_could_have_is_reported_once() -> None:
    assert [path for path, _ in broken(job("a", "b/c"))] == ["jobs[0].downstream[0]"]


@pytest.mark.parametrize("trigger_on", TriggerOn)
def test_a_job_that_triggers_itself(trigger_on: TriggerOn) -> None:
    itself = JobDefinition("a", downstream=(Downstream("a", trigger_on),))
    assert broken(itself) == [("jobs[0].downstream[0]", "closes the cycle a -> a")]


def test_a_cycle_is_named_at_the_entry_that_closes_it() -> None:
    assert broken(job("start", "a"), job("c", "a"), job("a", "b"), job("b", "end", "c"), job("end")) == [
        ("jobs[1].downstream[0]", "closes the cycle a -> b -> c -> a")
    ]


def test_every_cycle_is_named() -> None:
    found = broken(job("a", "b", "c"), job("b", "a"), job("c", "a"), job("d", "e"), job("e", "d"))
    assert found == [
        ("jobs[1].downstream[0]", "closes the cycle a -> b -> a"),
        ("jobs[2].downstream[0]", "closes the cycle a -> c -> a"),
        ("jobs[4].downstream[0]", "closes the cycle d -> e -> d"),
    ]


def test_a_cycle_is_named_once_however_many_jobs_lead_into_it() -> None:
    found = broken(job("a", "b"), job("b", "a"), job("c", "a", "b"), job("d", "c", "a"))
    assert found == [("jobs[1].downstream[0]", "closes the cycle a -> b -> a")]


def test_a_long_cycle_is_shortened() -> None:
    count = 3_000
    found = broken(*(job(f"j{n}", f"j{(n + 1) % count}") for n in range(count)))
    ((path, rule),) = found
    assert path == f"jobs[{count - 1}].downstream[0]"
    assert rule.startswith("closes the cycle j0 -> j1 -> ")
    assert "… 2981 more …" in rule
    assert rule.endswith("-> j2999 -> j0")


def test_entries_are_reported_where_they_were_written() -> None:
    found = validate_project([job("a", "nope")], ["jobs[0]"], downstream_paths=[["jobs[0].triggers[0]"]])
    assert [violation.path for violation in found] == ["jobs[0].triggers[0]"]


def test_the_number_of_jobs_is_limited() -> None:
    jobs = [job(f"j{n}") for n in range(MAX_JOBS + 1)]
    assert [(v.path, v.rule) for v in validate_project(jobs, ["x"] * len(jobs))] == [
        ("jobs", f"must be at most {MAX_JOBS}")
    ]
