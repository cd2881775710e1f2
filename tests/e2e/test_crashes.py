"""kill -9 of anything at any moment: it comes back, nothing is lost, nothing is stuck, nothing is done twice."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.testing.installation import RunningInstallation
from tests.e2e.ways import PGBOUNCER_EVERYWHERE, not_behind_pgbouncer, only_embedded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

JOBS = ("crash/tick", "crash/after-tick", "crash/busy", "crash/export")
# A dead engine's lease ends after 15 s; then somebody else runs its tasks again.
LEASE_SECONDS = 15
ALL = 10_000


@pytest.fixture(scope="module")
def started(installed: RunningInstallation, examples: Path) -> RunningInstallation:
    folder = installed.folder / "source"
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "crash_project.yaml", folder)
    shutil.copy(examples / "report_service.py", folder)
    installed.use_examples(folder)
    installed.start()
    until_every_job_succeeds_again(installed)
    return installed


def newest_success(started: RunningInstallation, job: str) -> str:
    return next((run.name for run in started.runs(job, limit=50) if run.status == Invocation.SUCCEEDED), "")


def until_every_job_succeeds_again(started: RunningInstallation) -> None:
    """Each job gets a success that is newer than all there are now."""
    for job in JOBS:
        before = newest_success(started, job)
        started.until(lambda job=job, before=before: newest_success(started, job) not in {"", before}, within=60)


@pytest.mark.parametrize("service", ["engine", "api", "ingester", pytest.param("postgres", marks=not_behind_pgbouncer)])
def test_a_killed_process_comes_back_and_all_jobs_go_on(started: RunningInstallation, service: str) -> None:
    first = started.pid_of(service)
    started.kill_service(service)
    started.until(lambda: "was killed by SIGKILL" in started.output().split("Ostinato is running.")[-1])
    until_every_job_succeeds_again(started)
    assert started.pid_of(service) != first


def test_work_that_a_dead_engine_had_taken_is_finished(started: RunningInstallation) -> None:
    taken = started.until(lambda: unfinished(started))
    started.kill_service("engine")
    for run in taken:
        started.until(lambda run=run: status(started, run) == Invocation.SUCCEEDED, within=LEASE_SECONDS + 15)


def unfinished(started: RunningInstallation) -> list[str]:
    return [run.name for run in started.runs("crash/busy", limit=5) if not run.final]


def status(started: RunningInstallation, name: str) -> int:
    return next((run.status for run in started.runs("crash/busy", limit=50) if run.name == name), 0)


def test_all_at_once(started: RunningInstallation) -> None:
    for service in (*(() if PGBOUNCER_EVERYWHERE else ("postgres",)), "engine", "ingester", "api"):
        started.kill_service(service)
    until_every_job_succeeds_again(started)


@only_embedded("the local clouds die with it, and with them every task: they are in memory")
def test_the_supervisor_itself(started: RunningInstallation) -> None:
    started.kill()
    started.start()
    until_every_job_succeeds_again(started)


def test_afterwards_every_slot_was_started_once_and_nothing_is_stuck(started: RunningInstallation) -> None:
    for job in JOBS:
        runs = started.runs(job, limit=ALL)
        assert [run.name for run in runs[3:] if not run.final] == []
        assert {run.status for run in runs if run.final} == {Invocation.SUCCEEDED}
    slots = Counter(run.scheduled_for.ToJsonString() for run in started.runs("crash/tick", limit=ALL))
    assert len(slots) > len(JOBS)
    assert {slot: count for slot, count in slots.items() if count > 1} == {}


def test_every_success_reached_the_job_downstream(started: RunningInstallation) -> None:
    ticks = {run.name for run in started.runs("crash/tick", limit=ALL) if run.status == Invocation.SUCCEEDED}
    assert ticks
    started.until(lambda: ticks <= upstream_of_after_tick(started))


def upstream_of_after_tick(started: RunningInstallation) -> set[str]:
    runs = started.runs("crash/after-tick", limit=ALL)
    return {trigger.id.removeprefix("upstream:") for run in runs for trigger in run.incoming_triggers}


def test_the_drain_is_clean_after_all_that(started: RunningInstallation) -> None:
    assert started.stop() == 0
    assert started.output().rstrip().endswith("Stopped.")
