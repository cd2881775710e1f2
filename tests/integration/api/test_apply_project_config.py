"""Applying project configs: what is added, changed, disabled and left alone, and that a wrong file changes nothing."""

from __future__ import annotations

import asyncio

import pytest

from ostinato.pb.scheduler.v1 import jobs_pb2
from ostinato.storage.database import Database
from tests.integration.api.served_api import ANA, Client, refused
from tests.integration.engine.stage import Stage

ONE = """
project: shop
jobs:
  - id: report
    schedule: "0 3 * * *"
    http: {url: "http://127.0.0.1:9000/report"}
    triggers: [send]
  - id: send
    noop: {}
"""


async def get(api: Client, name: str) -> jobs_pb2.Job:
    return await api.send("GetJob", jobs_pb2.GetJobRequest(name=f"projects/shop/jobs/{name}"))


async def snapshot(database: Database) -> dict[str, list[str]]:
    """Everything that applying a config could change."""
    tables = ("project", "job", "job_cron", "job_schedule_span", "trigger", "tq_ready")
    return {
        table: [str(row) for row in await database.fetch(f"select * from {table} t order by t")] for table in tables
    }


async def test_a_first_config_makes_its_jobs(api: Client, database: Database) -> None:
    answer = await api.apply(ONE, revision="r1", revision_url="http://git.example/r1")
    assert (list(answer.added), list(answer.changed), list(answer.disabled)) == (["report", "send"], [], [])
    assert (answer.project, answer.revision, answer.validate_only) == ("projects/shop", "r1", False)
    report, send = await get(api, "report"), await get(api, "send")
    assert (report.state, send.state) == (jobs_pb2.Job.SCHEDULED, jobs_pb2.Job.WAITING)
    assert report.next_run_time.ToDatetime().hour == 3
    assert (report.revision, report.revision_url) == ("r1", "http://git.example/r1")
    assert report.managed_by == jobs_pb2.Job.CONFIG
    assert [(each.job, each.trigger_on) for each in report.downstream] == [("send", jobs_pb2.Downstream.SUCCESS)]
    assert (report.http.method, report.http.timeout.seconds) == ("POST", 60)
    assert (send.schedule, send.realm, send.timeout.seconds) == ("triggered", "@legacy", 3600)
    assert (send.triggering_policy.max_concurrent_invocations, send.triggering_policy.max_batch_size) == (1, 1000)
    assert (send.retry.max_attempts, send.retry.min_backoff.seconds, send.retry.max_backoff.seconds) == (1, 1, 600)
    assert not send.HasField("heartbeat_timeout")


async def test_a_config_without_a_revision_gets_a_digest_of_its_text(api: Client) -> None:
    first, again, other = await api.apply(ONE), await api.apply(ONE), await api.apply(ONE + "\n")
    assert first.revision == again.revision != other.revision


async def test_applying_the_same_again_touches_no_job(api: Client, database: Database) -> None:
    await api.apply(ONE, revision="r1")
    before = await snapshot(database)
    answer = await api.apply(ONE + "# only a comment\n", revision="r2")
    assert (list(answer.added), list(answer.changed), list(answer.disabled)) == ([], [], [])
    after = await snapshot(database)
    assert {**before, "project": ()} == {**after, "project": ()}
    assert (await get(api, "report")).revision == "r1"  # of its last change, not of the last config


async def test_a_changed_stanza_changes_its_job_only(api: Client) -> None:
    await api.apply(ONE, revision="r1")
    before, untouched = await get(api, "report"), await get(api, "send")
    answer = await api.apply(ONE.replace("0 3 * * *", "every 15m"), revision="r2")
    assert (list(answer.added), list(answer.changed), list(answer.disabled)) == ([], ["report"], [])
    after = await get(api, "report")
    assert (after.schedule, after.revision, after.uid) == ("every 15m", "r2", before.uid)
    assert after.etag != before.etag
    assert after.next_run_time.ToDatetime().minute % 15 == 0
    assert await get(api, "send") == untouched


async def test_a_job_left_out_is_disabled_and_comes_back_as_it_was(api: Client, stage: Stage) -> None:
    await api.apply(ONE, revision="r1")
    uid = (await get(api, "send")).uid
    await api.send("PauseJob", jobs_pb2.PauseJobRequest(name="projects/shop/jobs/send", reason="quiet"))
    alone = ONE.partition("    triggers")[0]
    answer = await api.apply(alone, revision="r2")
    assert (list(answer.changed), list(answer.disabled)) == (["report"], ["send"])
    gone = await get(api, "send")
    assert (gone.state, gone.paused) == (jobs_pb2.Job.DISABLED, True)
    assert not gone.HasField("next_run_time")
    answer = await api.apply(ONE, revision="r3")
    assert (list(answer.added), list(answer.changed)) == (["send"], ["report"])
    back = await get(api, "send")
    assert (back.state, back.paused, back.pause_reason, back.uid) == (jobs_pb2.Job.PAUSED, True, "quiet", uid)
    assert back.revision == "r3"


async def test_a_scheduled_job_that_comes_back_is_planned_again_under_a_new_generation(
    api: Client, database: Database
) -> None:
    await api.apply(ONE)
    first = await database.fetchval("select generation from job_cron where job_name like '%report'")
    await api.apply("project: shop\njobs: []")
    row = await database.fetchrow("select enabled, slot, due_at from job_cron where job_name like '%report'")
    assert row is not None
    assert tuple(row) == (False, None, None)
    await api.apply(ONE)
    row = await database.fetchrow("select enabled, due_at, generation from job_cron where job_name like '%report'")
    assert row is not None
    assert row["enabled"]
    assert row["due_at"] is not None
    assert row["generation"] > first


async def test_an_empty_list_disables_all(api: Client) -> None:
    await api.apply(ONE)
    assert list((await api.apply("project: shop\njobs: []")).disabled) == ["report", "send"]
    listed = await api.send("ListJobs", jobs_pb2.ListJobsRequest(parent="projects/shop"))
    assert list(listed.jobs) == []


async def test_disabling_purges_what_is_pending_at_the_next_triage(api: Client, stage: Stage) -> None:
    await api.apply(ONE)
    assert (await api.emit("send", "t1")).accepted == 1
    await api.apply("project: shop\njobs: []")
    await stage.triage_until_quiet()
    job_id = await stage.db.fetchval("select job_id from job where name = 'send'")
    assert await stage.pending(job_id) == []
    assert await stage.active(job_id) == []


async def test_a_changed_policy_is_triaged_at_once(api: Client, stage: Stage) -> None:
    await api.apply(ONE)
    await api.emit("send", "t1", "t2")
    await api.apply(ONE.replace("noop: {}", "noop: {}\n    triggering_policy: {max_batch_size: 1}"))
    job_id = await stage.db.fetchval("select job_id from job where name = 'send'")
    kicks = [task.payload.job_id for task in await stage.claim()]
    assert kicks.count(job_id) == 2  # by the emission, and by the change


async def test_validate_only_tells_and_changes_nothing(api: Client, database: Database) -> None:
    before = await snapshot(database)
    answer = await api.apply(ONE, validate_only=True)
    assert (list(answer.added), answer.validate_only) == (["report", "send"], True)
    assert await snapshot(database) == before
    await api.apply(ONE)
    before = await snapshot(database)
    answer = await api.apply("project: shop\njobs: [{id: report, noop: {}}]", validate_only=True)
    assert (list(answer.changed), list(answer.disabled)) == (["report"], ["send"])
    assert await snapshot(database) == before


async def test_all_mistakes_are_told_at_once_and_nothing_changes(api: Client, database: Database) -> None:
    await api.apply(ONE)
    before = await snapshot(database)
    wrong = """
project: shop
jobs:
  - id: a
    schedul: "0 3 * * *"
    noop: {}
  - id: b
    schedule: "* * * *"
    http: {url: "ftp://x", timeout: 5}
  - {id: b, noop: {}, triggers: [nobody]}
"""
    refusal = await refused(api.apply(wrong))
    assert refusal.code == "INVALID_ARGUMENT"
    assert sorted(refusal.fields) == [
        "jobs[0].schedul",
        "jobs[1].http.timeout",
        "jobs[1].http.url",
        "jobs[1].schedule",
        "jobs[2].id",
        "jobs[2].triggers[0]",
    ]
    assert await snapshot(database) == before


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"project": "projects/other"}, ["project"]),
        ({"project": "shop"}, ["project"]),
        ({"format": 7}, ["format"]),
        ({"revision": "r" * 201}, ["revision"]),
        ({"revision": "r\0"}, ["revision"]),
        ({"revision_url": "u" * 2001, "expected_revision": "\0"}, ["revision_url", "expected_revision"]),
    ],
)
async def test_wrong_fields_beside_the_config_are_named(api: Client, fields: dict, named: list[str]) -> None:
    refusal = await refused(api.apply(ONE, **fields))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", named)


async def test_the_project_may_be_named_twice(api: Client) -> None:
    assert (await api.apply(ONE, project="projects/shop")).project == "projects/shop"


async def test_an_expected_revision_must_be_in_force(api: Client, database: Database) -> None:
    refusal = await refused(api.apply(ONE, expected_revision="r0"))
    assert refusal.code == "ABORTED"
    assert await database.fetchval("select count(*) from project") == 0
    await api.apply(ONE, revision="r1")
    before = await snapshot(database)
    refusal = await refused(api.apply("project: shop\njobs: []", expected_revision="r0"))
    assert (refusal.code, refusal.reason) == ("ABORTED", "CONFLICT")
    assert await snapshot(database) == before
    assert list((await api.apply("project: shop\njobs: []", expected_revision="r1")).disabled) == ["report", "send"]


async def test_a_job_that_is_managed_through_the_api_is_left_alone(api: Client, database: Database) -> None:
    await api.apply(ONE)
    await database.execute("update job set managed_by = 2 where name = 'send'")
    refusal = await refused(api.apply(ONE))
    assert refusal.fields == ["jobs[1].id"]
    answer = await api.apply("project: shop\njobs: [{id: report, noop: {}}]")
    assert (list(answer.changed), list(answer.disabled)) == (["report"], [])
    assert (await get(api, "send")).state == jobs_pb2.Job.WAITING


async def test_configs_of_one_project_are_applied_one_after_the_other(api: Client, database: Database) -> None:
    configs = [f"project: shop\njobs: [{{id: common, noop: {{}}}}, {{id: own-{i}, noop: {{}}}}]" for i in range(8)]
    answers = await asyncio.gather(*(api.apply(config, revision=f"r{i}") for i, config in enumerate(configs)))
    assert sum("common" in answer.added for answer in answers) == 1
    last = await database.fetchval("select revision from project")
    enabled = await database.fetch("select name from job where enabled order by name")
    assert [row["name"] for row in enabled] == ["common", f"own-{last[1:]}"]


async def test_of_two_that_expect_the_same_revision_one_wins(api: Client) -> None:
    await api.apply(ONE, revision="r1")
    calls = [api.apply(ONE, revision=f"r2{i}", expected_revision="r1") for i in range(2)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, Exception) for answer in answers) == 1


async def test_an_edit_does_not_swallow_a_slot_that_is_due(api: Client, stage: Stage) -> None:
    """The slot passed, no engine ticked yet, and the schedule changes: the slot keeps its outcome."""
    await api.apply(ONE)
    await stage.db.execute(
        "update job_cron set slot = '2026-01-01T03:00Z', due_at = '2026-01-01T03:00Z' where job_name like '%report'"
    )
    await api.apply(ONE.replace("0 3 * * *", "triggered"))
    await stage.triage_until_quiet()
    job_id = await stage.db.fetchval("select job_id from job where name = 'report'")
    first, skipped = await stage.ledger(job_id)
    assert (first["slot"].isoformat(), first["outcome"]) == ("2026-01-01T03:00:00+00:00", 1)
    assert skipped["slot"].isoformat() == "2026-01-02T03:00:00+00:00"
    assert skipped["until_slot"] is not None


async def test_a_slot_due_when_its_job_is_disabled_is_recorded_as_such(api: Client, stage: Stage) -> None:
    await api.apply(ONE)
    job_id = await stage.db.fetchval("select job_id from job where name = 'report'")
    await stage.db.execute(
        "update job_cron set slot = ostinato_now(), due_at = ostinato_now() where job_id = $1", job_id
    )
    await api.apply("project: shop\njobs: []")
    await stage.triage_until_quiet()
    assert [row["outcome"] for row in await stage.ledger(job_id)] == [6]


async def test_bindings_count_from_the_next_call_on(api: Client) -> None:
    ana = api.as_user(ANA)
    assert (await refused(get(ana, "send"))).code == "NOT_FOUND"
    await api.apply(ONE + f"\nbindings: [{{role: reader, members: ['{ANA}']}}]")
    assert (await refused(get(ana, "nobody"))).code == "NOT_FOUND"
    assert (await get(ana, "send")).name == "projects/shop/jobs/send"
    await api.apply(ONE)
    assert (await refused(get(ana, "send"))).code == "NOT_FOUND"


async def test_an_owner_may_apply_and_a_stranger_learns_nothing(api: Client) -> None:
    ana = api.as_user(ANA)
    unknown = await refused(ana.apply(ONE))
    await api.apply(ONE)
    invisible = await refused(ana.apply(ONE))
    assert (unknown.code, unknown.message) == (invisible.code, invisible.message)
    assert unknown.code == "NOT_FOUND"
    owned = ONE + f"\nbindings: [{{role: owner, members: ['{ANA}']}}]"
    await api.apply(owned)
    assert list((await ana.apply(owned)).changed) == []
    assert (await refused(api.as_user("user:bob").apply(owned))).code == "NOT_FOUND"


async def test_a_large_config_is_applied_by_a_handful_of_statements(api: Client, database: Database) -> None:
    stanzas = "".join(f"- {{id: j{i}, schedule: 'every 1h', noop: {{}}}}\n" for i in range(3000))
    assert len((await api.apply(f"project: big\njobs:\n{stanzas}")).added) == 3000
    changed = await api.apply(f"project: big\njobs:\n{stanzas}".replace("1h", "2h"))
    assert len(changed.changed) == 3000
    assert await database.fetchval("select count(*) from job_cron where due_at is not null") == 3000
    assert await database.fetchval("select count(*) from job_schedule_span") == 6000
    assert len((await api.apply("project: big\njobs: []")).disabled) == 3000
