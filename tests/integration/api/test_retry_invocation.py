"""RetryInvocation: what has ended runs once more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from ostinato.pb.scheduler.v1 import invocations_pb2, jobs_pb2, triggers_pb2
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.trigger import MAX_WAITING
from tests.integration.api.served_api import ANA, Client, refused
from tests.integration.api.test_invocations import abort, get, start
from tests.integration.engine.runs import read
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_retries import fail

A = "projects/shop/jobs/a"
CONFIG = f"""
project: shop
bindings:
  - {{role: triggerer, members: ["{ANA}"], realms: ["*"]}}
jobs:
  - {{id: a, noop: {{}}, retry: {{max_attempts: 2, min_backoff: 1h, max_backoff: 2h}}}}
"""


async def retry(api: Client, name: str) -> Trigger:
    answer = await api.send("RetryInvocation", invocations_pb2.RetryInvocationRequest(name=name))
    return answer.trigger


async def runs(api: Client) -> list[Invocation]:
    """Newest first."""
    listed = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=A))
    return list(listed.invocations)


def id_of(run: Invocation) -> int:
    return int(run.name.rpartition("/")[2])


async def ended(api: Client, stage: Stage, *, status: S = S.SUCCEEDED, in_history: bool = False) -> Invocation:
    run = await start(api, stage)
    await fail(stage, await read(stage, id_of(run)), status=status)
    if in_history:
        await stage.triage_until_quiet()
        assert await stage.db.fetchval("select count(*) from invocation_history") == 1
    return await get(api, run.name)


@pytest.mark.parametrize("in_history", [False, True])
@pytest.mark.parametrize("status", [S.SUCCEEDED, S.FAILED, S.ABORTED, S.TIMED_OUT])
async def test_whatever_has_ended_can_be_run_once_more(
    api: Client, stage: Stage, status: S, *, in_history: bool
) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage, status=status, in_history=in_history)
    trigger = await retry(api.as_user(ANA), run.name)
    assert (trigger.id, trigger.retry.invocation, trigger.retry.attempt) == (f"retry:{run.name}", run.name, 2)
    await stage.triage_until_quiet()
    again = (await runs(api))[0]
    assert (again.status, again.attempt, again.retry_of) == (Invocation.STARTING, 2, run.name)
    assert again.triggered_by == ANA
    assert [each.id for each in again.incoming_triggers] == [trigger.id, "t1"]


async def test_a_retry_by_hand_goes_beyond_the_policys_attempts(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage)
    for attempt in (2, 3, 4):
        assert (await retry(api, run.name)).retry.attempt == attempt
        await stage.triage_until_quiet()
        again = (await runs(api))[0]
        await fail(stage, await read(stage, id_of(again)))
        assert await stage.pending(1) == []  # none follows by itself
        run = again


async def test_what_has_not_ended_is_refused(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    refusal = await refused(retry(api, run.name))
    assert (refusal.code, refusal.message) == ("FAILED_PRECONDITION", f"{run.name} has not ended, it is STARTING")
    await abort(api, run.name)
    await retry(api, run.name)


async def test_a_disabled_job_is_refused(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage)
    await api.apply("project: shop\njobs: []\n")
    assert (await refused(retry(api, run.name))).code == "FAILED_PRECONDITION"


async def test_what_is_not_there_or_another_jobs_is_not_found(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG + "  - {id: b, noop: {}}\n")
    run = await ended(api, stage)
    for name in (f"{A}/invocations/7", run.name.replace("/jobs/a/", "/jobs/b/")):
        refusal = await refused(retry(api, name))
        assert (refusal.code, refusal.resource) == ("NOT_FOUND", name)
    assert (await refused(retry(api.as_user("user:nobody@shop.example"), run.name))).code == "NOT_FOUND"


async def test_a_retry_that_waits_for_its_backoff_is_brought_forward(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage, status=S.FAILED, in_history=True)
    assert len(await runs(api)) == 1
    trigger = await retry(api, run.name)
    assert (trigger.emitted_by, trigger.not_before) == ("user:dev@localhost", trigger.create_time)
    await stage.triage_until_quiet()
    assert [each.retry_of for each in await runs(api)] == [run.name, ""]


async def test_repeating_the_call_makes_no_second_retry_while_the_first_waits(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage)
    answers = await asyncio.gather(*(retry(api, run.name) for _ in range(5)))
    assert len({answer.SerializeToString() for answer in answers}) == 1
    await stage.triage_until_quiet()
    assert len(await runs(api)) == 2


async def test_a_paused_jobs_retry_waits_for_the_resume(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage)
    await api.send("PauseJob", jobs_pb2.PauseJobRequest(name=A))
    await retry(api, run.name)
    await stage.triage_until_quiet()
    assert len(await runs(api)) == 1
    listed = await api.send("ListTriggers", triggers_pb2.ListTriggersRequest(parent=A))
    assert [trigger.id for trigger in listed.triggers] == [f"retry:{run.name}"]
    await api.send("ResumeJob", jobs_pb2.ResumeJobRequest(name=A))
    await stage.triage_until_quiet()
    assert len(await runs(api)) == 2


async def test_beyond_the_cap_the_call_is_refused(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await ended(api, stage)
    job_id = await stage.db.fetchval("select job_id from job")
    await stage.db.execute(
        """
        insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, body, not_before)
        select $1, 'retry:' || n, 'RETRY', ostinato_now(), 0, '', ostinato_now() + interval '1 hour'
          from generate_series(1, $2) n
        """,
        job_id,
        MAX_WAITING,
    )
    refusal = await refused(retry(api, run.name))
    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert refusal.details["RetryInfo"].retry_delay.seconds == 60
    assert await stage.db.fetchval("select count(*) from trigger where not_before is not null") == MAX_WAITING


@pytest.mark.leaves_damage("a timer that no change set")
async def test_a_run_shows_its_timers_and_its_last_sign_of_life(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    await stage.db.execute(
        "insert into invocation_timer values ($1, '2:0', 'wake', '', $2, $2, 0)",
        id_of(run),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    await stage.db.execute("update invocation set last_heartbeat_at = '2026-01-02T00:00:00Z'")
    shown = await get(api, run.name)
    assert [(timer.id, timer.title, timer.due_time.ToDatetime(tzinfo=UTC)) for timer in shown.timers] == [
        ("2:0", "wake", datetime(2026, 1, 1, tzinfo=UTC))
    ]
    assert shown.last_heartbeat_time.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 2, tzinfo=UTC)
