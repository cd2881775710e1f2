"""`ostinato up` on a database that the user names, with two engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.testing.installation import RunningInstallation, installation
from tests.e2e.ways import CLOUD_EVERYWHERE, open_pooled_way, settings_through

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PROJECT = """
project: pair
jobs:
  - id: tick
    schedule: every 1s
    noop: {}
  - id: busy
    schedule: with 1s interval
    noop: {sleep: 2s}
"""
LEASE_SECONDS = 15


@pytest.fixture(params=["directly", "through a pgbouncer"])
async def given(
    request: pytest.FixtureRequest, empty_database_url: str, postgres_server_url: str, home: Path
) -> AsyncIterator[Mapping[str, str]]:
    """An empty database, and a way to it."""
    if request.param == "directly":
        yield {"OSTINATO_DATABASE_URL": empty_database_url}
        return
    async with open_pooled_way(empty_database_url, postgres_server_url, home) as bouncer:
        yield {**settings_through(bouncer), "OSTINATO_MAINTENANCE_DATABASE_URL": empty_database_url}


def succeeded(running: RunningInstallation, job: str) -> set[str]:
    return {run.name for run in running.runs(job) if run.status == Invocation.SUCCEEDED}


def test_two_engines_share_the_work_and_one_goes_on_alone(given: Mapping[str, str], tmp_path: Path) -> None:
    with installation(tmp_path, arguments=["--engines", "2"], cloud=CLOUD_EVERYWHERE, environ=given) as running:
        running.examples.mkdir()
        (running.examples / "pair.yaml").write_text(PROJECT)
        running.start()
        assert not (running.data / "postgres").exists()
        running.until(lambda: len(succeeded(running, "pair/tick")) >= 3)
        taken = running.until(lambda: {run.name for run in running.runs("pair/busy", limit=5) if not run.final})
        running.kill_service("engine")
        running.until(lambda: taken <= succeeded(running, "pair/busy"), within=LEASE_SECONDS + 15)
        slots = [run.scheduled_for.ToJsonString() for run in running.runs("pair/tick", limit=10_000)]
        assert len(set(slots)) == len(slots)
        assert running.stop() == 0


def test_wrong_settings_are_told_before_anything_is_started(tmp_path: Path) -> None:
    environ = {"OSTINATO_API_GRPC_ADDRESS": "0.0.0.0:7070", "OSTINATO_ENGINE_SHUTDOWN_GRACE": "long"}
    with installation(tmp_path, environ=environ) as running:
        refused = running.ostinato("up", "--no-examples")
        assert refused.returncode == 2
        assert "OSTINATO_API_GRPC_ADDRESS" in refused.stderr
        assert "OSTINATO_ENGINE_SHUTDOWN_GRACE" in refused.stderr
        assert not (running.data / "postgres").exists()


def test_a_database_that_does_not_answer_is_told(tmp_path: Path) -> None:
    environ = {"OSTINATO_DATABASE_URL": "postgresql://nobody:hush@127.0.0.1:1/nothing"}
    with installation(tmp_path, environ=environ) as running:
        refused = running.ostinato("up", "--no-examples")
        assert refused.returncode == 1
        assert "127.0.0.1" in refused.stderr
        assert "hush" not in refused.stdout + refused.stderr


def test_stopping_in_the_middle_of_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    with installation(tmp_path, cloud=CLOUD_EVERYWHERE) as running:
        running.launch()
        running.until(lambda: "Starting PostgreSQL" in running.output())
        assert running.stop() == 0
        assert running.output().rstrip().endswith("Stopped.")
        running.start()
        assert running.stop() == 0
