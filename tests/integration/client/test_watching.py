"""A watch outlives what interrupts it, and ends when the run does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta

import grpc
import pytest

from ostinato.client import ClientError, OstinatoClient, open_client
from ostinato.errors import NotFound, ResourceExhausted, Unavailable
from ostinato.pb.scheduler.v1.invocations_pb2 import LogLine, WatchInvocationRequest, WatchInvocationResponse
from tests.integration.client.fake_api import Answer, FakeApi, open_fake_api

RUN = "projects/shop/jobs/nightly/invocations/7"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with open_fake_api() as opened:
        yield opened


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[OstinatoClient]:
    async with open_client(api.address, user="user:ana@shop.example") as opened:
        yield opened


def line(number: int) -> WatchInvocationResponse:
    return WatchInvocationResponse(lines=[LogLine(text=str(number))], resume_token=str(number))


class Interrupted:
    """Tells lines 1 to `last`, and breaks off with `error` after every second one."""

    def __init__(self, last: int, error: Exception) -> None:
        self._last = last
        self._error = error

    def __call__(self, request: WatchInvocationRequest) -> list[Answer]:
        first = int(request.resume_token or 0) + 1
        told: list[Answer] = [line(number) for number in range(first, self._last + 1)]
        return told if len(told) <= 2 else [*told[:2], self._error]  # type: ignore[list-item]


async def watched(client: OstinatoClient, *, patience: timedelta = timedelta(minutes=1)) -> list[str]:
    return [each.text async for response in client.watch_invocation(RUN, patience=patience) for each in response.lines]


@pytest.mark.parametrize("error", [Unavailable("draining"), ResourceExhausted("too many watch")])
async def test_every_line_comes_once_whatever_interrupts(
    api: FakeApi, client: OstinatoClient, error: Exception
) -> None:
    api.answers["WatchInvocation"] = Interrupted(5, error)
    assert await watched(client) == ["1", "2", "3", "4", "5"]
    assert [request.resume_token for request in api.requests] == ["", "2", "4"]
    assert set(api.users) == {"user:ana@shop.example"}


async def test_the_caller_may_go_on_from_a_token_of_its_own(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["WatchInvocation"] = Interrupted(5, Unavailable("draining"))
    responses = client.watch_invocation(RUN, resume_token="4")
    assert [response.resume_token async for response in responses] == ["5"]


async def test_a_first_attempt_that_fails_is_told_at_once(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["WatchInvocation"] = NotFound("no such invocation")
    with pytest.raises(ClientError) as caught:
        await watched(client)
    assert (caught.value.code, len(api.requests)) == (grpc.StatusCode.NOT_FOUND, 1)


async def test_what_can_not_pass_is_told_also_later(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["WatchInvocation"] = [line(1), NotFound("its history is gone")]
    with pytest.raises(ClientError) as caught:
        await watched(client)
    assert (caught.value.code, len(api.requests)) == (grpc.StatusCode.NOT_FOUND, 1)


async def test_patience_ends(api: FakeApi, client: OstinatoClient) -> None:
    def watch(request: WatchInvocationRequest) -> list[Answer]:
        return [Unavailable("gone")] if request.resume_token else [line(1), Unavailable("draining")]

    api.answers["WatchInvocation"] = watch
    with pytest.raises(ClientError) as caught:
        await watched(client, patience=timedelta(0))
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_leaving_a_watch_cancels_its_call(api: FakeApi, client: OstinatoClient) -> None:
    api.answers["WatchInvocation"] = [line(1), line(2)]
    async with aclosing(client.watch_invocation(RUN)) as responses:
        assert (await anext(responses)).resume_token == "1"
