"""EmitTriggers: what gets in, what is a duplicate, what is dropped, and that a refused call changes nothing."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest

from ostinato.pb.scheduler.v1 import invocations_pb2, triggers_pb2
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest, EmitTriggersResponse
from tests.integration.api.served_api import ANA, Client, refused
from tests.integration.engine.stage import Stage

A, B = "projects/shop/jobs/a", "projects/shop/jobs/b"
CONFIG = f"""
project: shop
bindings:
  - {{role: triggerer, members: ["{ANA}"], realms: ["prod"]}}
  - {{role: reader, members: ["{ANA}"], realms: ["@legacy"]}}
jobs:
  - {{id: a, realm: prod, noop: {{}}, triggering_policy: {{max_concurrent_invocations: 2, max_batch_size: 3}}}}
  - {{id: b, noop: {{}}}}
"""

B_STANZA = "{id: b, noop: {}}"


def batch(trigger_id: str, *jobs: str, **trigger: object) -> dict:
    return {"trigger": {"id": trigger_id, **trigger}, "jobs": list(jobs)}


async def emit(api: Client, *batches: dict, **fields: object) -> EmitTriggersResponse:
    return await api.send("EmitTriggers", EmitTriggersRequest(batches=batches, **fields))


async def incoming(api: Client) -> list[list[str]]:
    """The triggers of each run of job a, oldest run first."""
    answer = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=A))
    return sorted([trigger.id for trigger in run.incoming_triggers] for run in answer.invocations)


async def test_four_triggers_for_two_slots_of_three_make_two_runs(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    answer = await emit(api, *(batch(f"t{i}", A) for i in range(1, 5)))
    assert [(each.job, each.accepted, each.duplicate) for each in answer.results] == [(A, 4, 0)]
    await stage.triage_until_quiet()
    assert await incoming(api) == [["t1", "t2", "t3"], ["t4"]]
    answer = await emit(api, batch("t1", A), batch("t4", A))
    assert [(each.accepted, each.duplicate) for each in answer.results] == [(0, 2)]
    await stage.triage_until_quiet()
    assert await incoming(api) == [["t1", "t2", "t3"], ["t4"]]


async def test_a_repeated_call_is_all_duplicates(api: Client) -> None:
    await api.apply(CONFIG)
    first = await emit(api, batch("t1", A, B))
    again = await emit(api, batch("t1", A, B), batch("t2", A))
    assert [(each.job, each.accepted, each.duplicate) for each in first.results] == [(A, 1, 0), (B, 1, 0)]
    assert [(each.job, each.accepted, each.duplicate) for each in again.results] == [(A, 1, 1), (B, 0, 1)]


async def test_a_job_that_rejects_what_is_too_much_refuses_the_whole_call(api: Client, stage: Stage) -> None:
    await api.apply(
        f"project: shop\njobs: [{{id: a, max_pending_triggers: 3, overflow: REJECT, noop: {{}}}}, {B_STANZA}]"
    )
    await emit(api, batch("t1", A), batch("t2", A), batch("t3", A))
    refusal = await refused(emit(api, batch("t4", A, B)))
    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert f"{A} (3)" in refusal.message
    assert refusal.details["RetryInfo"].retry_delay.ToTimedelta() > timedelta(0)
    assert await stage.pending(await job_id(stage, "b")) == []
    repeated = await emit(api, batch("t3", A), batch("t4", B))
    assert [(each.accepted, each.duplicate) for each in repeated.results] == [(0, 1), (1, 0)]
    await stage.triage_until_quiet()
    assert (await emit(api, batch("t4", A))).results[0].accepted == 1


async def test_a_job_that_drops_the_oldest_takes_everything(api: Client, stage: Stage) -> None:
    await api.apply(f"project: shop\njobs: [{{id: a, max_pending_triggers: 3, noop: {{}}}}, {B_STANZA}]")
    answer = await emit(api, *(batch(f"t{n}", A) for n in range(7)))
    assert answer.results[0].accepted == 7
    await stage.triage_until_quiet()
    assert await incoming(api) == [["t4", "t5", "t6"]]


async def job_id(stage: Stage, name: str) -> int:
    found: int = await stage.db.fetchval("select job_id from job where name = $1", name)
    return found


async def test_the_same_id_twice_in_one_call_gets_in_once(api: Client) -> None:
    await api.apply(CONFIG)
    answer = await emit(api, batch("t1", A, A), batch("t1", A))
    assert [(each.job, each.accepted, each.duplicate) for each in answer.results] == [(A, 1, 2)]


async def test_concurrent_calls_with_the_same_ids_get_each_in_once(api: Client) -> None:
    await api.apply(CONFIG)
    batches = [batch(f"t{i}", A, B) for i in range(20)]
    answers = await asyncio.gather(*(emit(api, *batches[i:], *batches[:i]) for i in range(8)))
    assert sum(result.accepted for answer in answers for result in answer.results) == 40


async def test_a_trigger_says_who_emitted_it_and_when(api: Client) -> None:
    await api.apply(CONFIG)
    ana = api.as_user(ANA)
    at = datetime.now(UTC) - timedelta(minutes=10)
    request = EmitTriggersRequest(
        batches=[
            batch("t1", A, title="T", url="http://x", event={"k": 1}, emitted_by="user:forged", order_in_batch=9),
            batch("t2", A, noop={"data": "d"}),
            batch("t3", A, console={}),
        ]
    )
    request.timestamp.FromDatetime(at)
    await ana.send("EmitTriggers", request)
    listed = await api.send("ListTriggers", triggers_pb2.ListTriggersRequest(parent=A))
    assert [(each.id, each.order_in_batch, each.emitted_by) for each in listed.triggers] == [
        ("t1", 0, ANA),
        ("t2", 1, ANA),
        ("t3", 2, ANA),
    ]
    first = listed.triggers[0]
    assert (first.title, first.url, first.event["k"]) == ("T", "http://x", 1)
    assert {each.create_time.ToDatetime(tzinfo=UTC) for each in listed.triggers} == {at}


@pytest.mark.parametrize("minutes", [-15.1, 15.1, -(10**6), 10**9])
async def test_a_timestamp_far_from_the_server_s_clock_is_refused(api: Client, minutes: float) -> None:
    await api.apply(CONFIG)
    request = EmitTriggersRequest(batches=[batch("t1", A)])
    request.timestamp.seconds = int(datetime.now(UTC).timestamp() + minutes * 60)
    refusal = await refused(api.send("EmitTriggers", request))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["timestamp"])


@pytest.mark.parametrize("minutes", [-14.9, 14.9])
async def test_a_timestamp_near_the_server_s_clock_is_taken(api: Client, minutes: float) -> None:
    await api.apply(CONFIG)
    request = EmitTriggersRequest(batches=[batch("t1", A)])
    request.timestamp.FromDatetime(datetime.now(UTC) + timedelta(minutes=minutes))
    assert (await api.send("EmitTriggers", request)).results[0].accepted == 1


async def test_every_mistake_is_told_and_nothing_gets_in(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    refusal = await refused(
        emit(
            api,
            batch("good", A),
            batch("", A),
            batch("x" * 501, A, "shop/a"),
            batch("nul\0", A, title="t" * 1001, url="u" * 2001),
            batch("t4", A, cron={"generation": 1}),
            batch("t5", A, upstream={"invocation": "x"}),
            batch("t6", A, event={"k": "v" * 70_000}),
            batch("t7", A, noop={"data": "v" * 70_000}),
            batch("cron:v1:7", A),
            batch("upstream:x", A),
        )
    )
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == [
        "batches[1].trigger.id",
        "batches[2].trigger.id",
        "batches[2].jobs[1]",
        "batches[3].trigger.id",
        "batches[3].trigger.title",
        "batches[3].trigger.url",
        "batches[4].trigger.cron",
        "batches[5].trigger.upstream",
        "batches[6].trigger.event",
        "batches[7].trigger.noop",
        "batches[8].trigger.id",
        "batches[9].trigger.id",
    ]
    assert await stage.db.fetchval("select count(*) from trigger") == 0


@pytest.mark.parametrize("taken", ["cron:v1:7", "upstream:projects/shop/jobs/a/invocations/1"])
async def test_an_id_of_the_schedulers_own_is_refused(api: Client, taken: str) -> None:
    await api.apply(CONFIG)
    refusal = await refused(emit(api, batch(taken, A)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["batches[0].trigger.id"])


async def test_the_longest_id_is_taken(api: Client) -> None:
    await api.apply(CONFIG)
    assert (await emit(api, batch("é" * 250, A))).results[0].accepted == 1


async def test_too_many_batches_or_triggers_are_refused(api: Client) -> None:
    await api.apply(CONFIG)
    refusal = await refused(emit(api, *(batch(f"t{i}", A) for i in range(1001))))
    assert refusal.fields == ["batches"]
    refusal = await refused(emit(api, *(batch(f"t{i}", *[A, B] * 51) for i in range(100))))
    assert refusal.fields == ["batches"]


async def test_an_empty_call_does_nothing(api: Client) -> None:
    assert list((await emit(api)).results) == []
    assert list((await emit(api, batch("t1"))).results) == []


async def test_jobs_that_are_missing_are_all_named_and_nothing_gets_in(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    refusal = await refused(emit(api, batch("t1", A, f"{A}x", "projects/else/jobs/y")))
    assert (refusal.code, refusal.resource) == ("NOT_FOUND", f"{A}x")
    assert "projects/else/jobs/y" in refusal.message
    assert await stage.db.fetchval("select count(*) from trigger") == 0


async def test_a_job_that_may_not_be_triggered_refuses_the_whole_call(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    ana = api.as_user(ANA)
    assert (await emit(ana, batch("t1", A))).results[0].accepted == 1
    refusal = await refused(emit(ana, batch("t2", A, B)))
    assert refusal.code == "PERMISSION_DENIED"
    assert B in refusal.message
    assert (await refused(emit(api.as_user("user:bob"), batch("t2", A)))).code == "NOT_FOUND"
    assert await stage.db.fetchval("select count(*) from trigger") == 1


async def test_a_disabled_job_drops_what_it_gets(api: Client) -> None:
    await api.apply(CONFIG)
    await api.apply("project: shop\njobs: [{id: a, noop: {}}]")
    answer = await emit(api, batch("t1", A, B), batch("t2", B))
    assert [(each.job, each.accepted) for each in answer.results] == [(A, 1), (B, 0)]
    assert [(each.reason, each.count) for each in answer.results[1].dropped] == [("DISABLED", 2)]


async def test_an_emission_asks_for_one_triage_per_job(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    await emit(api, batch("t1", A, B), batch("t2", A))
    assert len(await stage.claim()) == 2
    await emit(api, batch("t1", A, B))
    assert await stage.claim() == []


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        ({"a": [{"b": math.inf}]}, "must contain finite numbers only"),
        ({"a": math.nan}, "must contain finite numbers only"),
        ({"a": reduce(lambda inner, _: [inner], range(20), 1)}, "must not be nested deeper than 20 levels"),
        ({"a": "x" * 65536}, "must be at most 65536 bytes"),
    ],
    ids=["infinity", "nan", "nesting", "size"],
)
async def test_an_event_that_could_not_be_told_as_json_again_is_refused(api: Client, event: dict, rule: str) -> None:
    await api.apply(CONFIG)
    trigger = triggers_pb2.Trigger(id="t1")
    trigger.event.update(event)
    batch_of_it = EmitTriggersRequest.Batch(trigger=trigger, jobs=[A])
    refusal = await refused(api.send("EmitTriggers", EmitTriggersRequest(batches=[batch_of_it])))
    assert refusal.rules == {"batches[0].trigger.event": rule}


async def test_fields_that_this_build_does_not_know_are_not_stored(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    unknown = b"\xfa\x7f\x84\x80\x04" + b"x" * 65540  # field 2047 with more bytes than any payload may have
    trigger = triggers_pb2.Trigger.FromString(triggers_pb2.Trigger(id="t1").SerializeToString() + unknown)
    assert trigger.ByteSize() > 65536
    batch_of_it = EmitTriggersRequest.Batch(trigger=trigger, jobs=[A])
    await api.send("EmitTriggers", EmitTriggersRequest(batches=[batch_of_it]))
    assert await stage.db.fetchval("select length(body) from trigger") < 200


async def test_one_call_cannot_multiply_a_large_trigger_without_bound(api: Client) -> None:
    await api.apply(CONFIG)
    trigger = triggers_pb2.Trigger(id="t1")
    trigger.event.update({"a": "x" * 60_000})
    request = EmitTriggersRequest(batches=[EmitTriggersRequest.Batch(trigger=trigger, jobs=[A] * 600)])
    refusal = await refused(api.send("EmitTriggers", request))
    assert refusal.rules == {"batches": "must be at most 33554432 bytes, each trigger counted once per job"}


async def test_a_retry_is_made_by_the_scheduler_only(api: Client) -> None:
    """It was refused as our own mistake."""
    await api.apply(CONFIG)
    refusal = await refused(emit(api, batch("t1", A, retry={"invocation": f"{A}/invocations/1", "attempt": 2})))
    assert refusal.rules == {"batches[0].trigger.retry": "is made by the scheduler only"}


async def test_what_is_output_only_is_ignored(api: Client, stage: Stage) -> None:
    """A caller could make a trigger that waits for years, or speak for somebody else's trace."""
    await api.apply(CONFIG)
    later = datetime.now(UTC) + timedelta(days=1)
    await emit(api, batch("t1", A, not_before=later, emitted_by="user:eve@shop.example", traceparent="00-a-b-01"))
    body = await stage.db.fetchval("select body from trigger")
    stored = triggers_pb2.Trigger.FromString(body)
    assert (stored.HasField("not_before"), stored.traceparent) == (False, "")
    assert stored.emitted_by == "user:dev@localhost"
