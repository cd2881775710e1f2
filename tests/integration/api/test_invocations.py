"""Invocations one by one: what they show, under which names, and how they are aborted."""

from __future__ import annotations

import asyncio
from datetime import UTC

from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from tests.integration.api.served_api import Client, refused
from tests.integration.engine.stage import Stage

A, B = "projects/shop/jobs/a", "projects/shop/jobs/b"
CONFIG = """
project: shop
jobs:
  - {id: a, noop: {}, timeout: 90s, triggers: [b]}
  - {id: b, noop: {}}
"""


async def start(api: Client, stage: Stage, trigger: str = "t1") -> Invocation:
    await api.emit("a", trigger)
    await stage.triage_until_quiet()
    listed = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=A, page_size=1))
    return listed.invocations[0]


async def get(api: Client, name: str) -> Invocation:
    return await api.send("GetInvocation", invocations_pb2.GetInvocationRequest(name=name))


async def abort(api: Client, name: str, reason: str = "") -> Invocation:
    return await api.send("AbortInvocation", invocations_pb2.AbortInvocationRequest(name=name, reason=reason))


async def test_a_run_shows_where_it_comes_from(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG, revision="r1")
    run = await start(api, stage)
    assert await get(api, run.name) == run
    assert (run.status, run.final, run.attempt, run.config_revision) == (Invocation.STARTING, False, 1, "r1")
    assert run.triggered_by == "user:dev@localhost"
    assert [trigger.id for trigger in run.incoming_triggers] == ["t1"]
    job = await api.send("GetJob", jobs_pb2.GetJobRequest(name=A))
    assert (run.job_uid, job.active_invocations, job.state) == (job.uid, 1, jobs_pb2.Job.RUNNING)
    assert not run.HasField("start_time")
    assert not run.HasField("deadline_time")


async def test_a_started_run_has_a_deadline(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    await stage.db.execute("update invocation set started_at = '2026-01-01T00:00:00Z', status = 3")
    run = await get(api, run.name)
    assert run.deadline_time.ToDatetime(tzinfo=UTC).isoformat() == "2026-01-01T00:01:30+00:00"


async def test_an_aborted_run_is_final_at_once_and_its_job_goes_on(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    first = await start(api, stage)
    await api.emit("a", "t2")
    aborted = await abort(api, first.name, "enough")
    assert (aborted.status, aborted.final) == (Invocation.ABORTED, True)
    assert (aborted.error.reason, aborted.error.message) == ("ABORTED", "aborted by user:dev@localhost: enough")
    assert aborted.HasField("finish_time")
    await stage.triage_until_quiet()
    assert await get(api, first.name) == aborted  # now from the history
    listed = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=A))
    assert [[trigger.id for trigger in run.incoming_triggers] for run in listed.invocations] == [["t2"], ["t1"]]
    job = await api.send("GetJob", jobs_pb2.GetJobRequest(name=A))
    assert (job.last_status, job.HasField("last_completed_time")) == ("", True)  # an abort is no verdict on the job
    assert not job.HasField("last_failure_time")


async def test_aborting_what_has_ended_changes_nothing(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    first = await abort(api, run.name, "first")
    assert await abort(api, run.name, "second") == first
    await stage.triage_until_quiet()
    assert await abort(api, run.name, "third") == first


async def test_aborting_at_the_same_time_ends_a_run_once(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    answers = await asyncio.gather(*(abort(api, run.name, f"r{i}") for i in range(8)))
    assert len({answer.error.message for answer in answers}) == 1
    lines = await api.send("ListLogs", invocations_pb2.ListLogsRequest(parent=run.name))
    assert sum(line.text.startswith("aborted by") for line in lines.lines) == 1


async def test_a_run_is_known_under_its_own_job_only(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    elsewhere = run.name.replace("/a/", "/b/")
    for call in (
        get(api, elsewhere),
        abort(api, elsewhere),
        api.send("ListLogs", invocations_pb2.ListLogsRequest(parent=elsewhere)),
        get(api, f"{A}/invocations/1"),
        get(api, f"{A}/invocations/{2**63 - 1}"),
    ):
        assert (await refused(call)).code == "NOT_FOUND"
    assert not (await get(api, run.name)).final


async def test_the_debug_state_shows_what_triage_would_see(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    run = await start(api, stage)
    await api.emit("a", "t2", "t3")
    state = await api.send("GetDebugJobState", admin_pb2.GetDebugJobStateRequest(name=A))
    assert (state.enabled, state.paused) == (True, False)
    assert [each.name for each in state.active_invocations] == [run.name]
    assert [each.id for each in state.pending_triggers] == ["t2", "t3"]
    assert state.cron_state.enabled
    assert state.HasField("last_triage_time")
    await api.apply("project: shop\njobs: []")
    state = await api.send("GetDebugJobState", admin_pb2.GetDebugJobStateRequest(name=A))
    assert not state.enabled
    assert not state.cron_state.enabled
    missing = await refused(api.send("GetDebugJobState", admin_pb2.GetDebugJobStateRequest(name=f"{A}x")))
    assert (missing.code, missing.resource) == ("NOT_FOUND", f"{A}x")
