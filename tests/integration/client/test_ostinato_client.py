"""The client against a real gRPC server whose answers the test decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from threading import Event

import grpc
import pytest

from ostinato.client import ClientError, OstinatoClient, open_client
from ostinato.errors import Unavailable
from ostinato.pb.scheduler.v1.admin_pb2 import DeadLetter, ListDeadLettersRequest, ListDeadLettersResponse
from ostinato.pb.scheduler.v1.jobs_pb2 import BatchGetJobsRequest, BatchGetJobsResponse, GetJobRequest, Job
from ostinato.pb.scheduler.v1.projects_pb2 import ApplyProjectConfigRequest
from ostinato.telemetry.tracing import use_traceparent
from tests.integration.client.fake_api import FakeApi, open_fake_api

JOB = "projects/shop/jobs/nightly"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with open_fake_api() as opened:
        yield opened


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[OstinatoClient]:
    async with open_client(api.address, user="user:ana@shop.example") as opened:
        yield opened


class AwayAtFirst:
    """Not available for the first `times` calls."""

    def __init__(self, times: int) -> None:
        self._left = times

    def __call__(self, _: object) -> Job | Unavailable:
        self._left -= 1
        return Unavailable("starting") if self._left >= 0 else Job(name=JOB)


async def test_a_safe_call_is_repeated_while_the_server_is_away(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["GetJob"] = AwayAtFirst(2)
    assert (await client.get_job(JOB)).name == JOB
    assert api.requests == [GetJobRequest(name=JOB)] * 3


async def test_after_four_attempts_the_caller_is_told(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["GetJob"] = AwayAtFirst(100)
    with pytest.raises(ClientError) as caught:
        await client.get_job(JOB)
    assert (caught.value.reason, caught.value.retry_after) == ("UNAVAILABLE", timedelta(seconds=1))
    assert len(api.requests) == 4


async def test_applying_a_config_is_never_repeated_by_itself(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["ApplyProjectConfig"] = Unavailable("commit outcome unknown")
    with pytest.raises(ClientError):
        await client.apply_project_config(ApplyProjectConfigRequest(config="project: shop"))
    assert len(api.requests) == 1


async def test_a_call_is_part_of_the_callers_trace(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["GetJob"] = Job(name=JOB)
    with use_traceparent(TRACE):
        await client.get_job(JOB)
    await client.get_job(JOB)
    assert api.traces == [TRACE, ""]


async def test_every_call_says_who_asks(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["BatchGetJobs"] = BatchGetJobsResponse(jobs=[Job(name=JOB)])
    assert [job.name for job in await client.batch_get_jobs([JOB, "projects/shop/jobs/none"])] == [JOB]
    assert api.users == ["user:ana@shop.example"]
    assert api.requests == [BatchGetJobsRequest(names=[JOB, "projects/shop/jobs/none"])]


async def test_a_listing_fetches_a_page_only_when_it_is_wanted(api: FakeApi, client: OstinatoClient) -> None:
    def pages(request: ListDeadLettersRequest) -> ListDeadLettersResponse:
        first = int(request.page_token or 0)
        letters = [DeadLetter(id=first + 1), DeadLetter(id=first + 2)]
        return ListDeadLettersResponse(dead_letters=letters, next_page_token=str(first + 2) if first < 4 else "")

    api.answers["ListDeadLetters"] = pages
    listing = client.list_dead_letters(queue="launches", page_size=2)
    assert [(await anext(listing)).id for _ in range(2)] == [1, 2]
    assert len(api.requests) == 1
    assert [letter.id async for letter in listing] == [3, 4, 5, 6]
    assert [(request.queue, request.page_token) for request in api.requests] == [
        ("launches", ""),
        ("launches", "2"),
        ("launches", "4"),
    ]


async def test_a_call_without_an_answer_ends_at_its_deadline(api: FakeApi) -> None:
    answer = Event()

    def late(_: object) -> Job:
        answer.wait(20)
        return Job()

    api.answers["GetJob"] = late
    async with open_client(api.address, call_limit=timedelta(milliseconds=50)) as client:
        with pytest.raises(ClientError) as caught:
            await client.get_job(JOB)
    answer.set()
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_where_nobody_answers_the_call_is_unanswered() -> None:
    async with open_client("127.0.0.1:1") as client:
        with pytest.raises(ClientError) as caught:
            await client.get_job(JOB)
    assert caught.value.is_unanswered


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    api.answers["GetJob"] = Job(name=JOB)
    async with open_client(api.address) as client:
        assert (await client.get_job(JOB)).name == JOB
