"""The whole installation with its tasks in Cloud Tasks: jobs run, nothing is lost with a process or with an answer."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.testing.installation import RunningInstallation, installation
from tests.e2e.ways import not_behind_pgbouncer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), not_behind_pgbouncer]

ON_REQUEST = """
project: cloud
jobs:
  - id: on-request
    schedule: triggered
    http: {url: "http://127.0.0.1:9000/report"}
"""
# Everything that takes a minute or more takes a second or two here.
QUICK = {"OSTINATO_CLOUD_FRESH_FOR": "1", "OSTINATO_SWEEP_EVERY": "1", "OSTINATO_CLOUD_PARK_AFTER": "1"}


@pytest.fixture(scope="module")
def started(home: Path, examples: Path) -> Iterator[RunningInstallation]:
    source = home / "source"
    source.mkdir()
    shutil.copy(Path(__file__).parent / "crash_project.yaml", source)
    shutil.copy(examples / "report_service.py", source)
    (source / "on_request.yaml").write_text(ON_REQUEST, encoding="utf-8")
    with installation(home, cloud=True, environ=QUICK) as prepared:
        prepared.use_examples(source)
        prepared.start()
        yield prepared


def plan(started: RunningInstallation, *faults: dict[str, Any]) -> None:
    """What goes wrong from now on: nothing without `faults`."""
    url = f"http://{started.environ['OSTINATO_LOCAL_CLOUD_HTTP_ADDRESS']}/faults"
    request = urllib.request.Request(url, json.dumps({"faults": faults}).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def successes(started: RunningInstallation, job: str) -> list[Invocation]:
    return [run for run in started.runs(job, limit=50) if run.status == Invocation.SUCCEEDED]


def run_of(started: RunningInstallation, trigger: str) -> Invocation | None:
    """Of job `on-request`; succeeded, and the only one with this trigger."""
    runs = [run for run in started.runs("cloud/on-request") if trigger in {each.id for each in run.incoming_triggers}]
    assert len(runs) <= 1
    return runs[0] if runs and runs[0].status == Invocation.SUCCEEDED else None


def trigger(started: RunningInstallation, name: str) -> None:
    assert started.ostinato("trigger", "cloud/on-request", "--id", name).returncode == 0


def calls_for(started: RunningInstallation, run: Invocation) -> int:
    return started.log("report_service").count(f"Idempotency-Key: {run.name} ")


def test_jobs_of_every_kind_run(started: RunningInstallation) -> None:
    for job in ("crash/tick", "crash/after-tick", "crash/busy", "crash/export"):
        started.until(lambda job=job: successes(started, job), within=30)
    assert "Cloud Tasks" in started.output()


def test_a_killed_engine_loses_nothing(started: RunningInstallation) -> None:
    before = {run.name for run in successes(started, "crash/busy")}
    started.kill_service("engine")
    started.until(lambda: {run.name for run in successes(started, "crash/busy")} - before, within=40)
    unfinished = [run for run in started.runs("crash/busy", limit=50)[1:] if not run.final]
    assert unfinished == []


def test_an_api_that_dies_while_cloud_tasks_is_away_leaves_its_task_to_the_sweepers(
    started: RunningInstallation,
) -> None:
    plan(started, {"method": "CreateTask", "kind": "REFUSED", "code": "UNAVAILABLE"})
    trigger(started, "while-away")
    started.kill_service("api")
    plan(started)
    run = started.until(lambda: run_of(started, "while-away"), within=60)
    assert calls_for(started, run) == 1


def test_a_task_that_was_added_without_an_answer_runs_once(started: RunningInstallation) -> None:
    plan(started, {"method": "CreateTask", "kind": "ANSWER_LOST", "code": "UNAVAILABLE", "times": 40})
    trigger(started, "unanswered")
    run = started.until(lambda: run_of(started, "unanswered"), within=60)
    plan(started)
    assert calls_for(started, run) == 1


def parked(started: RunningInstallation) -> list[str]:
    told = json.loads(started.ostinato("dead-letters", "--limit", "500", "--output", "json").stdout)
    letters = [letter for letter in told["deadLetters"] if letter["kind"] == "reminder"]
    assert all("PERMISSION_DENIED" in letter["error"] for letter in letters)
    return [letter["id"] for letter in letters]


def test_what_is_refused_for_too_long_is_a_dead_letter_and_runs_when_it_is_requeued(
    started: RunningInstallation,
) -> None:
    plan(started, {"method": "CreateTask", "kind": "REFUSED", "code": "PERMISSION_DENIED"})
    trigger(started, "forbidden")
    started.until(lambda: parked(started), within=60)
    plan(started)
    requeued = started.ostinato("dead-letters", "requeue", *parked(started))
    assert requeued.returncode == 0, requeued.stderr
    started.until(lambda: run_of(started, "forbidden"), within=60)


def test_a_sweep_can_be_asked_for(started: RunningInstallation) -> None:
    assert started.ostinato("sweep").stdout == "A sweep has begun.\n"
