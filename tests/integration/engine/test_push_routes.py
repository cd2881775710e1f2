"""An engine whose tasks wait in Cloud Tasks: what it takes from whom over HTTP, and that jobs run so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.taskqueue.cloud_tasks.envelope import encode_envelope
from ostinato_engine.main import open_engine
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import settings
from tests.integration.taskqueue.contract.local_cloud import CLOCK, PUSHER, LocalCloud

ENVELOPE = encode_envelope(TRIAGE_JOB.name, TriageJobTask(job_id=1))


@dataclass(frozen=True, slots=True)
class Pushes:
    """What an engine answers."""

    cloud: LocalCloud
    session: aiohttp.ClientSession

    async def post(self, body: bytes, *, path: str = "/internal/tasks/t/x", by: str = PUSHER) -> tuple[int, str]:
        url = f"{self.cloud.settings.target_url}{path}"
        token = self.cloud.issuer.tokens.issue(by, url, now=CLOCK.now()) if by else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def cloud_engine(stage: Stage, cloud: LocalCloud) -> AsyncIterator[None]:
    usual = settings(stage.db.settings.url)
    chosen = replace(
        usual,
        http_address=f"127.0.0.1:{cloud.port}",
        cloud_tasks=cloud.settings,
        oidc=cloud.issuer.settings,
    )
    async with open_engine(chosen):
        yield


@pytest.fixture
async def pushes(stage: Stage, cloud: LocalCloud) -> AsyncIterator[Pushes]:
    async with cloud_engine(stage, cloud), aiohttp.ClientSession() as session:
        yield Pushes(cloud, session)


async def test_a_task_is_taken_and_answered_with_200(pushes: Pushes) -> None:
    assert await pushes.post(ENVELOPE) == (200, "OK")


async def test_a_body_of_the_older_library_is_taken_by_its_type(pushes: Pushes) -> None:
    old = {"type": TriageJobTask.DESCRIPTOR.full_name, "body": {"jobId": "1"}}
    assert (await pushes.post(json.dumps(old).encode()))[0] == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"garbage", (400, "bad request")),
        (b'{"class": "triage-job", "body": {"job_id": "x"}}', (400, "bad payload")),
        (b'{"class": "bake-cake", "body": {}}', (404, "unknown class")),
    ],
)
async def test_what_can_not_be_read_is_refused_without_a_word_of_ours(
    pushes: Pushes, body: bytes, expected: tuple[int, str]
) -> None:
    assert await pushes.post(body) == expected


async def test_only_the_account_of_the_queue_may_push_or_sweep(pushes: Pushes) -> None:
    for path in ("/internal/tasks/t/x", "/internal/sweep"):
        status, text = await pushes.post(ENVELOPE, path=path, by="")
        assert status == 401
        assert "trac" not in text.lower()
        status, text = await pushes.post(ENVELOPE, path=path, by="somebody@else.example")
        assert status == 403
        assert "somebody" not in text


async def test_a_sweep_can_be_begun_from_outside(pushes: Pushes) -> None:
    assert await pushes.post(b"", path="/internal/sweep") == (204, "")


async def test_the_engine_makes_the_queues(pushes: Pushes) -> None:
    async with pushes.cloud.client as client:
        parent = "projects/shop/locations/here"
        names = [queue.name.rpartition("/")[2] async for queue in await client.list_queues(parent=parent)]
    assert names == ["launches", "notifications", "timers", "tq-sweep", "triages"]


async def test_what_waits_in_the_database_since_before_the_switch_is_run(stage: Stage, pushes: Pushes) -> None:
    assert pushes.session
    await stage.dispatcher.add(TRIAGE_JOB, TriageJobTask(job_id=1))
    await stage.until("select not exists (select from tq_ready)")


async def test_its_metrics_and_its_state_tell_of_pushes(pushes: Pushes) -> None:
    await pushes.post(ENVELOPE)
    await pushes.post(b"garbage")
    async with pushes.session.get(f"{pushes.cloud.settings.target_url}/metrics") as answer:
        shown = await answer.text()
    assert 'ostinato_taskqueue_tasks_total{class="triage-job",event="done",queue="triages"} 1.0' in shown
    assert 'ostinato_taskqueue_pushes_rejected_total{reason="bad_request"} 1.0' in shown
    assert 'ostinato_taskqueue_pushes_rejected_total{reason="auth"} 0.0' in shown
    assert 'ostinato_taskqueue_reminders_depth{state="parked"} 0.0' in shown
    assert "ostinato_taskqueue_sweeps_begun_total" in shown
    async with pushes.session.get(f"{pushes.cloud.settings.target_url}/readyz") as answer:
        assert answer.status == 200
