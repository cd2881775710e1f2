"""What a triage starts, leaves, and writes down."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.jobflow.engine_tasks import LAUNCH_INVOCATION
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue import missing_tasks
from ostinato.telemetry.tracing import use_traceparent
from tests.integration.engine.stage import Stage, trigger


def incoming(invocation: Row) -> list[str]:
    return [message.id for message in TriggerList.FromString(invocation["incoming"]).triggers]


async def test_two_slots_and_batches_of_three_make_two_invocations_of_four_triggers(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=3))
    await stage.emit_ids(job_id, "t1", "t2", "t3", "t4")
    assert await stage.triage() == [None]
    started = await stage.active(job_id)
    assert sorted(map(incoming, started)) == [["t1", "t2", "t3"], ["t4"]]
    assert await stage.pending(job_id) == []


async def test_an_id_again_or_after_it_was_consumed_starts_nothing_new(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=9))
    await stage.emit_ids(job_id, "t1")
    await stage.triage()
    assert (await stage.emit_ids(job_id, "t1")).accepted == ()
    assert await stage.triage_until_quiet() == 0
    assert len(await stage.active(job_id)) == 1


async def test_an_invocation_is_all_that_its_run_needs(stage: Stage) -> None:
    job_id = await stage.add_job("j", timeout=timedelta(minutes=7))
    await stage.emit_ids(job_id, "t1", "t2")
    await stage.triage()
    (run,) = await stage.active(job_id)
    assert (run["status"], run["attempt"], run["launch_attempts"], run["version"]) == (1, 1, 0, 1)
    assert run["triggered_by"] == "user:ana@shop.example"
    assert run["deadline_at"] == run["created_at"] + timedelta(minutes=7)
    assert run["job_name"] == "projects/shop/jobs/j"
    assert run["job_uid"] == (await stage.job(job_id))["uid"]
    assert run["revision"] == "r1"
    assert decode_definition(run["definition"]).id == "j"
    assert TriggerList.FromString(run["incoming"]).triggers[0] == trigger("t1", order=0)
    (launch,) = await stage.launches()
    assert launch.id == run["launch_task_id"]
    assert (launch.payload.job_id, launch.payload.invocation_id) == (job_id, run["invocation_id"])


async def test_nobody_triggered_a_run_whose_triggers_came_from_two(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit(job_id, trigger("a", by="user:ana"), trigger("b", by="user:bo"))
    await stage.triage()
    (run,) = await stage.active(job_id)
    assert run["triggered_by"] == ""


async def test_many_jobs_are_triaged_by_one_call(stage: Stage) -> None:
    jobs = [await stage.add_job(f"j{n}") for n in range(40)]
    for job_id in jobs:
        await stage.emit_ids(job_id, "t")
    assert await stage.triage() == [None] * 40
    runs = [await stage.active(job_id) for job_id in jobs]
    assert [len(started) for started in runs] == [1] * 40
    assert len({started[0]["invocation_id"] for started in runs}) == 40
    assert len(await stage.launches()) == 40


async def test_at_the_limit_everything_waits_until_a_run_has_ended(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t1")
    await stage.triage()
    await stage.emit_ids(job_id, "t2", "t3")
    await stage.triage()
    (running,) = await stage.active(job_id)
    assert await stage.pending(job_id) == ["t2", "t3"]
    await stage.finish(running["invocation_id"])
    await stage.triage()
    (second,) = await stage.active(job_id)
    assert incoming(second) == ["t2", "t3"]


async def test_consumed_external_ids_are_remembered_and_cron_ones_are_gone(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    tick = trigger("cron:v1:7")
    tick.cron.generation = 7
    await stage.emit(job_id, tick, trigger("t1"))
    await stage.triage()
    rows = await database.fetch("select trigger_id, consumed_at from trigger where job_id = $1", job_id)
    assert [(row[0], row[1] is not None) for row in rows] == [("t1", True)]


async def test_a_paused_job_loses_what_is_pending_and_keeps_what_runs(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t1")
    await stage.triage()
    await stage.emit_ids(job_id, "t2", "t3")
    await database.execute("update job set paused = true, version = version + 1 where job_id = $1", job_id)
    await stage.triage()
    assert await stage.pending(job_id) == []
    assert len(await stage.active(job_id)) == 1
    assert (await stage.triage_records(job_id))[-1]["decisions"] == [
        {"reason": "PURGED_PAUSED", "count": 2, "trigger_ids": ["t2", "t3"]}
    ]
    assert (await stage.emit_ids(job_id, "t2")).duplicates == ("t2",)  # purged ids are remembered like consumed ones


@pytest.mark.leaves_damage("the job is disabled by hand, its cron row stays")
async def test_a_disabled_job_loses_what_is_pending(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t1")
    await database.execute("update job set enabled = false, version = version + 1 where job_id = $1", job_id)
    await stage.triage()
    assert await stage.pending(job_id) == []
    assert (await stage.triage_records(job_id))[-1]["decisions"][0]["reason"] == "PURGED_DISABLED"


async def test_a_changed_policy_counts_from_the_next_version_of_the_job_on(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    other = await stage.add_job("wide", policy=TriggeringPolicy(max_concurrent_invocations=3, max_batch_size=1))
    await stage.emit_ids(job_id, "t1")
    await stage.triage()
    await stage.emit_ids(job_id, "t2", "t3")
    await database.execute(
        "update job set version = version + 1, definition = (select definition from job where job_id = $2) "
        "where job_id = $1",
        job_id,
        other,
    )
    await stage.triage()
    assert sorted(map(incoming, await stage.active(job_id))) == [["t1"], ["t2"], ["t3"]]


async def test_the_record_says_what_was_seen_chosen_and_why(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_batch_size=2))
    await stage.emit_ids(job_id, "t1", "t2", "t3")
    await stage.triage()
    (run,) = await stage.active(job_id)
    name = f"projects/shop/jobs/j/invocations/{run['invocation_id']}"
    assert await stage.triage_records(job_id) == [
        {
            "job_revision": "r1",
            "saw": {"pending": 3, "active": 0, "finished_since": 0},
            "decisions": [
                {"reason": "STARTED", "count": 1, "trigger_ids": ["t2"], "invocation": name},
                {"reason": "BATCHED", "count": 1, "trigger_ids": ["t1"], "invocation": name},
                {"reason": "AT_CONCURRENCY_LIMIT", "count": 1, "trigger_ids": ["t3"]},
            ],
        }
    ]


async def test_a_triage_that_saw_nothing_leaves_only_its_time(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    assert (await stage.job(job_id))["last_triage_at"] is None
    await stage.kick(job_id)
    await stage.triage()
    assert (await stage.job(job_id))["last_triage_at"] is not None
    assert await stage.triage_records(job_id) == []


async def test_a_task_for_a_job_that_does_not_exist_is_done(database: Database, stage: Stage) -> None:
    await stage.kick(4711)
    assert await stage.triage() == [None]
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_a_launch_goes_on_in_the_trace_of_what_asked_for_the_triage(stage: Stage) -> None:
    traced, plain = await stage.add_job("traced"), await stage.add_job("plain")
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with use_traceparent(header):
        await stage.emit_ids(traced, "t")
    await stage.emit_ids(plain, "t")
    await stage.triage()
    launches = {launch.payload.job_id: launch.traceparent for launch in await stage.launches()}
    assert launches == {traced: header, plain: None}


async def test_launch_tasks_are_there_for_the_reconciler_to_find(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t1")
    await stage.triage()
    (run,) = await stage.active(job_id)
    assert await missing_tasks(stage.dispatcher, LAUNCH_INVOCATION, [run["launch_task_id"]]) == set()
