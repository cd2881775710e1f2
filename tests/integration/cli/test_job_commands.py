from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.errors import NotFound
from ostinato.pb.scheduler.v1.jobs_pb2 import (
    CatchUp,
    Downstream,
    Job,
    ListJobsRequest,
    ListJobsResponse,
    PauseJobRequest,
    ResumeJobRequest,
    TriggeringPolicy,
)
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]


def nightly() -> Job:
    job = Job(
        name="projects/shop/jobs/nightly-report",
        schedule="0 3 * * *",
        state=Job.SCHEDULED,
        last_status="SUCCEEDED",
        active_invocations=2,
        revision="abc",
        labels={"team": "bi", "area": "eu"},
        downstream=[Downstream(job="send", trigger_on=Downstream.SUCCESS)],
        triggering_policy=TriggeringPolicy(
            kind=TriggeringPolicy.GREEDY_BATCHING, max_concurrent_invocations=2, max_batch_size=1000
        ),
    )
    job.http.method, job.http.url, job.http.multistage = "POST", "http://127.0.0.1:9000/report", True
    job.timeout.FromTimedelta(timedelta(hours=1))
    job.next_run_time.FromDatetime(datetime(2026, 11, 21, 3, tzinfo=UTC))
    return job


def test_jobs_are_a_table_of_a_hundred_columns(ostinato: Ostinato, api: FakeApi) -> None:
    waiting = Job(name="projects/shop/jobs/send", schedule="triggered", state=Job.WAITING)
    long = Job(name="projects/shop/jobs/" + "x" * 26, schedule="*/5 * * * * MON-FRI " * 3, state=Job.PAUSED)
    api.answers["ListJobs"] = ListJobsResponse(jobs=[nightly(), waiting, long])
    ran = ostinato("jobs", "shop")
    assert api.requests == [ListJobsRequest(parent="projects/shop", page_size=100)]
    assert ran.lines[0].split() == ["JOB", "STATE", "SCHEDULE", "NEXT", "RUN", "LAST", "ACTIVE"]
    assert ran.lines[1].split("  ")[0] == "shop/nightly-report"
    assert "2026-11-21T03:00:00Z" in ran.lines[1]
    assert max(map(len, ran.lines)) <= 100
    assert "x" * 26 in ran.out


def test_every_page_is_fetched(ostinato: Ostinato, api: FakeApi) -> None:
    def pages(request: ListJobsRequest) -> ListJobsResponse:
        number = int(request.page_token or 0)
        jobs = [Job(name=f"projects/p/jobs/j{number}")]
        return ListJobsResponse(jobs=jobs, next_page_token=str(number + 1) if number < 2 else "")

    api.answers["ListJobs"] = pages
    listed = ostinato("--output", "json", "jobs").json
    assert [job["name"] for job in listed["jobs"]] == [f"projects/p/jobs/j{number}" for number in range(3)]
    assert [request.parent for request in api.requests] == ["projects/-"] * 3


def test_no_jobs_are_an_empty_list_for_programs_and_a_note_for_people(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListJobs"] = ListJobsResponse()
    assert ostinato("--output", "json", "jobs").json == {"jobs": [], "nextPageToken": ""}
    assert ostinato("jobs") == Ran(0, "", "There are no jobs.\n")


def test_one_job_is_shown_with_what_it_has(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["GetJob"] = nightly()
    shown = dict(line.split("  ", 1) for line in ostinato("job", "shop/nightly-report").lines)
    assert {name: value.strip() for name, value in shown.items()} == {
        "job": "shop/nightly-report",
        "state": "SCHEDULED",
        "schedule": "0 3 * * *",
        "next run": "2026-11-21T03:00:00Z",
        "target": "POST http://127.0.0.1:9000/report, ends by a notification",
        "timeout": "1h 00m",
        "triggering": "GREEDY_BATCHING, 2 at once, up to 1000 triggers each",
        "triggers": "send on SUCCESS",
        "active runs": "2",
        "last status": "SUCCEEDED",
        "labels": "area=eu, team=bi",
        "revision": "abc",
    }


def test_a_paused_noop_job_says_since_when_and_why(ostinato: Ostinato, api: FakeApi) -> None:
    job = Job(
        name="projects/shop/jobs/n", state=Job.PAUSED, paused=True, paused_by="user:ana@shop", pause_reason="move"
    )
    job.pause_time.FromDatetime(datetime(2026, 11, 21, tzinfo=UTC))
    job.noop.sleep.FromTimedelta(timedelta(seconds=5))
    job.noop.triggers_count = 3
    api.answers["GetJob"] = job
    out = ostinato("job", "shop/n").out
    assert "since 2026-11-21T00:00:00Z, by user:ana@shop, move" in out
    assert "nothing, sleeps 5s, emits 3 triggers" in out


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (CatchUp.LATEST, "LATEST within 1d 12h"),
        (CatchUp.ALL, "ALL within 1d 12h, at most 7"),
    ],
)
def test_a_job_says_how_it_makes_up_for_missed_slots(
    ostinato: Ostinato, api: FakeApi, policy: CatchUp.Policy.ValueType, told: str
) -> None:
    job = Job(name="projects/shop/jobs/n", catch_up=CatchUp(policy=policy, limit=7))
    job.catch_up.window.FromTimedelta(timedelta(hours=36))
    api.answers["GetJob"] = job
    assert told in ostinato("job", "shop/n").out


def test_json_is_the_protos_own_form(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["GetJob"] = nightly()
    job = ostinato("job", "shop/nightly-report", "--output", "json").json
    assert (job["nextRunTime"], job["state"], job["http"]["method"]) == ("2026-11-21T03:00:00Z", "SCHEDULED", "POST")
    assert job["triggeringPolicy"]["maxConcurrentInvocations"] == "2"
    assert (job["paused"], job["owner"]) == (False, "")


def test_pause_and_resume_send_the_reason(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PauseJob"] = api.answers["ResumeJob"] = nightly()
    paused = ostinato("pause", "shop/nightly-report", "--reason", "moving")
    resumed = ostinato("resume", "shop/nightly-report", "--reason", "moved")
    assert paused.out == "shop/nightly-report is paused.\n"
    assert resumed.out == "shop/nightly-report is active, next run 2026-11-21T03:00:00Z.\n"
    name = "projects/shop/jobs/nightly-report"
    assert api.requests == [
        PauseJobRequest(name=name, reason="moving"),
        ResumeJobRequest(name=name, reason="moved"),
    ]


@pytest.mark.parametrize("command", ["job", "pause", "resume", "runs"])
def test_a_job_that_is_not_there_is_told_and_exits_with_1(ostinato: Ostinato, api: FakeApi, command: str) -> None:
    missing = NotFound("job `shop/none` does not exist", resource="projects/shop/jobs/none")
    api.answers = dict.fromkeys(["GetJob", "PauseJob", "ResumeJob", "ListInvocations"], missing)
    assert ostinato(command, "shop/none") == Ran(1, "", "Error: job `shop/none` does not exist (NOT_FOUND)\n")


@pytest.mark.parametrize("command", ["job", "pause", "resume", "runs", "trigger"])
def test_a_name_without_its_project_is_wrong_usage(ostinato: Ostinato, api: FakeApi, command: str) -> None:
    ran = ostinato(command, "nightly")
    assert ran.exit_code == 2
    assert "must look like project/job" in ran.err
    assert api.requests == []
