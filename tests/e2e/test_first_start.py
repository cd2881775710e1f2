"""From nothing to running jobs, as a newcomer sees it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.testing.installation import RunningInstallation
from tests.e2e.ways import not_behind_pgbouncer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def started(installed: RunningInstallation, examples: Path) -> RunningInstallation:
    installed.use_examples(examples)
    installed.start()
    return installed


def succeeded(started: RunningInstallation, job: str) -> list[Invocation]:
    return [run for run in started.runs(job) if run.status == Invocation.SUCCEEDED]


def test_jobs_fire_and_their_calls_carry_an_idempotency_key(started: RunningInstallation) -> None:
    run = started.until(lambda: succeeded(started, "example/report"), within=60)[-1]
    table = started.ostinato("runs", "example/report").stdout
    assert "SUCCEEDED" in next(line for line in table.splitlines() if run.name.rpartition("/")[2] in line)
    assert f"POST /report  Idempotency-Key: {run.name}  attempt 1" in started.log("report_service")


def test_a_success_starts_the_job_downstream(started: RunningInstallation) -> None:
    run = started.until(lambda: succeeded(started, "example/send-report"))[-1]
    (trigger,) = run.incoming_triggers
    assert trigger.id.startswith("upstream:projects/example/jobs/report/invocations/")


def test_a_run_that_outlasts_its_call_is_ended_by_a_notification(started: RunningInstallation) -> None:
    run = started.until(lambda: succeeded(started, "example/export"), within=60)[-1]
    assert dict(run.result) == {"rows": 1234}
    assert "exported 1234 rows" in started.ostinato("logs", run.name).stdout


def test_waiting_triggers_are_batched(started: RunningInstallation) -> None:
    for number in range(1, 5):
        assert started.ostinato("trigger", "example/resize-images", "--id", f"t{number}").returncode == 0
    runs = started.until(lambda: enough(succeeded(started, "example/resize-images"), triggers=4))
    consumed = sorted(trigger.id for run in runs for trigger in run.incoming_triggers)
    assert consumed == ["t1", "t2", "t3", "t4"]


def enough(runs: list[Invocation], *, triggers: int) -> list[Invocation]:
    return runs if sum(len(run.incoming_triggers) for run in runs) >= triggers else []


@not_behind_pgbouncer
def test_it_tells_where_everything_is(started: RunningInstallation) -> None:
    told = started.output()
    for address in ("API_GRPC", "API_HTTP", "ENGINE_HTTP", "INGESTER_GRPC"):
        assert started.environ[f"OSTINATO_{address}_ADDRESS"] in told
    assert re.search(r"database +PostgreSQL \d+ on 127\.0\.0\.1:\d+", told)
    assert f"--address {started.environ['OSTINATO_ADDRESS']} runs example/report" in told


@not_behind_pgbouncer
def test_no_secret_is_told_or_logged(started: RunningInstallation) -> None:
    secret = (started.data / "secret").read_text().strip()
    passwords = re.findall(r'"([0-9a-f]{48})"', (started.postgres_home / "passwords.json").read_text())
    assert len(passwords) == 3
    written = started.output() + "".join(path.read_text() for path in (started.data / "logs").glob("*.log"))
    assert not [hidden for hidden in (secret, *passwords) if hidden in written]


def test_a_second_one_in_the_same_place_is_refused(started: RunningInstallation) -> None:
    refused = started.ostinato("up")
    assert refused.returncode == 1
    assert "is running in" in refused.stderr


def test_what_starts_the_processes_has_not_loaded_grpc(started: RunningInstallation) -> None:
    """Which threads of gRPC abort now and then in a child that is about to become another program."""
    assert started._process
    loaded = Path(f"/proc/{started._process.pid}/maps").read_text(encoding="utf-8")
    assert "asyncpg" in loaded
    assert "cygrpc" not in loaded


def test_it_drains_and_continues_at_the_next_start(started: RunningInstallation) -> None:
    before = {run.name for run in succeeded(started, "example/report")}
    pids = started.pids()
    assert started.stop() == 0
    assert started.output().rstrip().endswith("Stopped.")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    started.start()
    after = started.until(lambda: more_than(before, succeeded(started, "example/report")))
    assert before < after
    assert len(re.findall(r"^example: .*", started.output(), re.MULTILINE)) == 2


def more_than(before: set[str], runs: list[Invocation]) -> set[str]:
    names = {run.name for run in runs}
    return names if len(names) > len(before) else set()


def test_ctrl_c_ends_it_the_same_way(started: RunningInstallation) -> None:
    assert started._process
    started._process.send_signal(signal.SIGINT)
    assert started._process.wait(60) == 0
    assert started.output().count("Stopped.") == 2
