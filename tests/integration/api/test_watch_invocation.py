"""Watching a run: what is there comes at once, what happens comes soon, and the end comes last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import load_invocations
from ostinato.pb.scheduler.v1 import invocations_pb2
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation, WatchInvocationResponse
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.invocation_id import InvocationId
from tests.integration.api.served_api import ANA, Client, refused
from tests.integration.api.test_invocations import CONFIG, A, abort, start
from tests.integration.engine.stage import Stage


async def save(stage: Stage, name: str, status: S, *lines: str) -> None:
    """What an engine writes: a state with its lines."""
    invocation_id = InvocationId(int(name.rpartition("/")[2]))
    async with stage.db.transaction() as tx:
        found = (await load_invocations(tx, [invocation_id]))[invocation_id]
        change = InvocationChange(
            invocation=found, to_status=status, log_lines=[LogLine(found.read_at, line) for line in lines]
        )
        assert await apply_changes(tx, stage.dispatcher, [change])


async def next_of(call: Any) -> WatchInvocationResponse:
    async with asyncio.timeout(5):
        response: WatchInvocationResponse = await call.read()
    assert response, "the stream has ended"
    return response


def texts(responses: Sequence[WatchInvocationResponse]) -> list[str]:
    return [line.text for response in responses for line in response.lines]


async def drained(call: Any) -> list[WatchInvocationResponse]:
    responses = []
    async with asyncio.timeout(20):
        while (response := await call.read()) is not grpc.aio.EOF:
            responses.append(response)
    return responses


@pytest.fixture
async def run(api: Client, stage: Stage) -> Invocation:
    await api.apply(CONFIG)
    return await start(api, stage)


async def test_the_first_response_has_the_invocation_and_its_log_so_far(
    api: Client, stage: Stage, run: Invocation
) -> None:
    await save(stage, run.name, S.STARTING, "one", "two")
    call = api.watch(run.name)
    first = await next_of(call)
    assert (first.invocation, texts([first])) == (run, ["one", "two"])
    assert first.resume_token
    call.cancel()


async def test_changes_and_lines_come_as_they_happen_until_the_last_words(
    api: Client, stage: Stage, run: Invocation
) -> None:
    call = api.watch(run.name)
    assert (await next_of(call)).invocation.status == Invocation.STARTING
    await save(stage, run.name, S.RUNNING, "begun")
    running = await next_of(call)
    assert (running.invocation.status, texts([running])) == (Invocation.RUNNING, ["begun"])
    await save(stage, run.name, S.RUNNING, "half way")
    half_way = await next_of(call)
    assert (half_way.HasField("invocation"), texts([half_way])) == (False, ["half way"])
    await save(stage, run.name, S.SUCCEEDED, "done")
    rest = await drained(call)
    assert rest[-1].invocation.status == Invocation.SUCCEEDED
    assert texts(rest)[0] == "done"
    assert texts(rest)[-1].startswith("Ended with status SUCCEEDED")
    assert await call.code() is grpc.StatusCode.OK


async def test_a_run_in_the_history_is_told_whole_and_ends_at_once(api: Client, stage: Stage, run: Invocation) -> None:
    await save(stage, run.name, S.FAILED, "oh")
    await stage.triage_until_quiet()
    responses = await drained(api.watch(run.name))
    assert [response.invocation.status for response in responses] == [Invocation.FAILED]
    assert texts(responses)[0] == "oh"


@pytest.mark.leaves_damage("an input is deleted by hand")
async def test_a_run_whose_input_is_gone_is_not_found_as_everywhere_else(
    api: Client, stage: Stage, run: Invocation
) -> None:
    """So it is for a moment while the partition of a week is dropped, table by table."""
    await stage.db.execute("delete from invocation_input")
    call = api.watch(run.name)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_run_that_ends_and_goes_to_the_history_while_it_is_watched_ends_the_stream_once(
    api: Client, stage: Stage, run: Invocation
) -> None:
    call = api.watch(run.name)
    await next_of(call)
    await abort(api, run.name, "enough")
    await stage.triage_until_quiet()
    rest = await drained(call)
    assert [response.invocation.status for response in rest] == [Invocation.ABORTED]
    assert sum(text.startswith("aborted by") for text in texts(rest)) == 1


async def test_a_long_log_comes_in_several_responses_without_a_gap(api: Client, stage: Stage, run: Invocation) -> None:
    expected = [f"line {number} {'x' * 100}" for number in range(1300)]
    for begin in range(0, 1300, 650):
        await save(stage, run.name, S.RUNNING, *expected[begin : begin + 650])
    await save(stage, run.name, S.SUCCEEDED)
    responses = await drained(api.watch(run.name))
    assert texts(responses)[:1300] == expected
    assert len(responses) >= 3
    assert [response.HasField("invocation") for response in responses] == [True] + [False] * (len(responses) - 1)
    assert max(response.ByteSize() for response in responses) < 100_000


async def test_a_resumed_stream_goes_on_after_the_lines_of_its_token(
    api: Client, stage: Stage, run: Invocation
) -> None:
    await save(stage, run.name, S.RUNNING, "one", "two")
    call = api.watch(run.name)
    token = (await next_of(call)).resume_token
    call.cancel()
    await save(stage, run.name, S.SUCCEEDED, "three")
    responses = await drained(api.watch(run.name, token))
    assert texts(responses)[0] == "three"
    assert responses[0].invocation.status == Invocation.SUCCEEDED
    again = await drained(api.watch(run.name, responses[-1].resume_token))
    assert (texts(again), again[0].invocation.status) == ([], Invocation.SUCCEEDED)


async def test_a_token_is_good_for_its_own_run_only(api: Client, stage: Stage, run: Invocation) -> None:
    token = (await next_of(call := api.watch(run.name))).resume_token
    call.cancel()
    await abort(api, run.name)
    other = await start(api, stage, "t2")
    for name, bad in ((other.name, token), (run.name, token[:-1] + "!"), (run.name, "x")):
        refusal = await refused(api.watch(name, bad).read())
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["resume_token"])
    page = await api.send("ListLogs", invocations_pb2.ListLogsRequest(parent=run.name, page_size=1))
    assert (await refused(api.watch(run.name, page.next_page_token).read())).fields == ["resume_token"]


async def test_what_one_may_not_see_one_may_not_watch(api: Client, run: Invocation) -> None:
    for call in (
        api.as_user(ANA).watch(run.name),
        api.watch(run.name.replace("/a/", "/b/")),
        api.watch(f"{A}/invocations/7"),
    ):
        assert (await refused(call.read())).code == "NOT_FOUND"
    assert (await refused(api.watch("nonsense").read())).fields == ["name"]


async def test_a_run_that_is_deleted_while_it_is_watched_ends_the_stream(
    api: Client, stage: Stage, run: Invocation
) -> None:
    call = api.watch(run.name)
    await next_of(call)
    await stage.db.execute("delete from invocation")
    assert (await refused(call.read())).code == "NOT_FOUND"


async def test_many_watchers_of_one_run_are_all_told(api: Client, stage: Stage, run: Invocation) -> None:
    calls = [api.watch(run.name) for _ in range(30)]
    for call in calls:
        await next_of(call)
    await save(stage, run.name, S.SUCCEEDED, "done")
    for rest in await asyncio.gather(*map(drained, calls)):
        assert texts(rest)[0] == "done"


async def test_a_sign_of_life_alone_is_no_news(api: Client, stage: Stage, run: Invocation) -> None:
    call = api.watch(run.name)
    await next_of(call)
    await save(stage, run.name, S.STARTING)  # a version without anything to see
    await save(stage, run.name, S.SUCCEEDED, "done")
    assert (await next_of(call)).invocation.status == Invocation.SUCCEEDED
