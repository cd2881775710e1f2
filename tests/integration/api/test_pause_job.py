"""Pausing and resuming: the job, its schedule, its pending triggers and what runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ostinato.pb.scheduler.v1 import invocations_pb2, jobs_pb2, triggers_pb2
from tests.integration.api.served_api import ANA, Client, refused
from tests.integration.engine.stage import Stage

NAME = "projects/shop/jobs/report"
CONFIG = """
project: shop
bindings:
  - {role: operator, members: ["user:op"], realms: ["prod"]}
  - {role: reader, members: ["user:ana@shop.example"]}
jobs:
  - {id: report, realm: prod, schedule: "0 3 * * *", noop: {}}
  - {id: often, schedule: "with 10m interval", noop: {}}
"""


async def pause(api: Client, name: str = NAME, **fields: object) -> jobs_pb2.Job:
    return await api.send("PauseJob", jobs_pb2.PauseJobRequest(name=name, **fields))


async def resume(api: Client, name: str = NAME, **fields: object) -> jobs_pb2.Job:
    return await api.send("ResumeJob", jobs_pb2.ResumeJobRequest(name=name, **fields))


async def job_id_of(stage: Stage, name: str = "report") -> int:
    return await stage.db.fetchval("select job_id from job where name = $1", name)


async def test_a_paused_job_has_no_next_run_and_says_who_paused_it(api: Client) -> None:
    await api.apply(CONFIG)
    job = await pause(api, reason="maintenance")
    assert (job.state, job.paused, job.pause_reason, job.paused_by) == (
        jobs_pb2.Job.PAUSED,
        True,
        "maintenance",
        "user:dev@localhost",
    )
    assert job.HasField("pause_time")
    assert not job.HasField("next_run_time")


async def test_pausing_a_paused_job_changes_nothing(api: Client) -> None:
    await api.apply(CONFIG)
    first = await pause(api, reason="first")
    assert await pause(api, reason="second") == first


async def test_a_resumed_job_has_its_next_slot_again(api: Client) -> None:
    await api.apply(CONFIG)
    before = await api.send("GetJob", jobs_pb2.GetJobRequest(name=NAME))
    paused = await pause(api)
    job = await resume(api, reason="over")
    assert (job.state, job.paused, job.pause_reason) == (jobs_pb2.Job.SCHEDULED, False, "over")
    assert job.next_run_time == before.next_run_time
    assert len({before.etag, paused.etag, job.etag}) == 3
    assert await resume(api, reason="again") == job


async def test_an_interval_goes_on_counting_during_a_pause(api: Client, stage: Stage) -> None:
    """LUCI: a long-paused `with 10m interval` job is due at once when it is resumed."""
    await api.apply(CONFIG)
    name = "projects/shop/jobs/often"
    await pause(api, name)
    await stage.db.execute("update job_cron set last_rewind_at = last_rewind_at - interval '1 day'")
    job = await resume(api, name)
    now = await stage.db.fetchval("select ostinato_now()")
    assert abs(job.next_run_time.ToDatetime(tzinfo=now.tzinfo) - now) < timedelta(seconds=10)


async def test_each_pause_and_resume_leaves_a_span(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG, revision="r1")
    await pause(api)
    await resume(api)
    spans = await stage.db.fetch(
        "select schedule, paused, enabled, revision from job_schedule_span where job_id = $1 order by from_at",
        await job_id_of(stage),
    )
    assert [tuple(span) for span in spans] == [
        ("0 3 * * *", False, True, "r1"),
        ("triggered", True, True, "r1"),
        ("0 3 * * *", False, True, "r1"),
    ]


async def test_what_was_pending_is_purged_and_what_comes_is_dropped(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    await api.emit("report", "t1")
    await pause(api)
    result = await api.emit("report", "t2", "t3")
    assert (result.accepted, [(each.reason, each.count) for each in result.dropped]) == (0, [("PAUSED", 2)])
    await stage.triage_until_quiet()
    assert await stage.pending(await job_id_of(stage)) == []
    assert await stage.active(await job_id_of(stage)) == []
    await resume(api)
    assert (await api.emit("report", "t1", "t2")).duplicate == 1  # t1 was consumed, t2 never got in


async def test_what_runs_goes_on_unless_it_is_to_be_aborted(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    await api.emit("report", "t1")
    await stage.triage_until_quiet()
    job = await pause(api)
    assert (job.state, job.active_invocations, job.paused) == (jobs_pb2.Job.RUNNING, 1, True)
    job = await pause(api, reason="stop", abort_active=True)
    assert (job.state, job.active_invocations) == (jobs_pb2.Job.PAUSED, 0)
    await stage.triage_until_quiet()
    listed = await api.send("ListInvocations", invocations_pb2.ListInvocationsRequest(parent=NAME))
    (ended,) = listed.invocations
    assert (ended.status, ended.final) == (invocations_pb2.Invocation.ABORTED, True)
    assert (ended.error.reason, ended.error.message) == ("ABORTED", "aborted by user:dev@localhost: stop")
    lines = await api.send("ListLogs", invocations_pb2.ListLogsRequest(parent=ended.name))
    assert "aborted by user:dev@localhost: stop" in [line.text for line in lines.lines]


async def test_a_disabled_job_can_be_neither_paused_nor_resumed(api: Client) -> None:
    await api.apply(CONFIG)
    await api.apply("project: shop\njobs: []")
    assert (await refused(pause(api))).code == "FAILED_PRECONDITION"
    assert (await refused(resume(api))).code == "FAILED_PRECONDITION"


async def test_pausing_and_resuming_need_a_role_in_the_job_s_realm(api: Client) -> None:
    await api.apply(CONFIG)
    operator, reader, stranger = (api.as_user(user) for user in ("user:op", ANA, "user:bob"))
    assert (await pause(operator, abort_active=True)).paused_by == "user:op"
    assert not (await resume(operator)).paused
    assert (await refused(pause(reader))).code == "PERMISSION_DENIED"
    assert (await refused(resume(reader))).code == "PERMISSION_DENIED"
    assert (await refused(pause(stranger))).code == "NOT_FOUND"
    elsewhere = await refused(pause(operator, "projects/shop/jobs/often"))
    missing = await refused(pause(operator, "projects/shop/jobs/nobody"))
    assert elsewhere.code == missing.code == "NOT_FOUND"


async def test_a_slot_due_at_the_moment_of_the_pause_is_recorded_as_paused(api: Client, stage: Stage) -> None:
    await api.apply(CONFIG)
    job_id = await job_id_of(stage)
    await stage.db.execute(
        "update job_cron set slot = ostinato_now(), due_at = ostinato_now() where job_id = $1", job_id
    )
    await pause(api)
    await stage.triage_until_quiet()
    assert [row["outcome"] for row in await stage.ledger(job_id)] == [5]


async def test_a_job_that_makes_up_for_a_pause_keeps_its_schedule_and_runs_each_slot_when_it_is_resumed(
    api: Client, stage: Stage
) -> None:
    await api.apply("project: shop\njobs: [{id: report, schedule: every 1h, catch_up: {policy: ALL}, noop: {}}]")
    job_id = await job_id_of(stage)
    job = await pause(api)
    assert (job.state, job.HasField("next_run_time")) == (jobs_pb2.Job.PAUSED, False)
    assert (job.catch_up.policy, job.catch_up.window.seconds, job.catch_up.limit) == (jobs_pb2.CatchUp.ALL, 86400, 100)
    span = await stage.db.fetchrow("select * from job_schedule_span order by from_at desc limit 1")
    assert span is not None
    assert (span["schedule"], span["paused"], span["terms"] != b"") == ("every 1h", True, True)

    hour = (await stage.db.fetchval("select ostinato_now()")).replace(minute=0, second=0, microsecond=0)
    slots = [hour - timedelta(hours=2), hour - timedelta(hours=1), hour]
    await stage.db.execute("update job_schedule_span set from_at = from_at - interval '1 d'")
    await stage.db.execute("update job_cron set slot = $1", slots[0])
    await stage.triage_until_quiet()
    assert await explained(api, slots[1]) == ["STILL_WAITING", "PAUSED"]

    job = await resume(api)
    assert job.HasField("next_run_time")
    await stage.triage_until_quiet()
    (run,) = await stage.active(job_id)
    assert run["scheduled_for"] == slots[0]
    assert await explained(api, slots[0]) == ["STARTED"]
    assert (await explained(api, slots[1]))[:2] == ["STILL_WAITING", "AT_CONCURRENCY_LIMIT"]
    listed = await api.send("ListTriggers", triggers_pb2.ListTriggersRequest(parent=NAME))
    left = [trigger.not_before.ToDatetime(tzinfo=UTC) for trigger in listed.triggers]
    assert left[:2] == slots[1:]


async def explained(api: Client, at: datetime) -> list[str]:
    request = jobs_pb2.ExplainJobRequest(name=NAME)
    request.at.FromDatetime(at)
    answer: jobs_pb2.ExplainJobResponse = await api.send("ExplainJob", request)
    return [finding.code for finding in answer.findings]
