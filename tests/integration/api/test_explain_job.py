"""ExplainJob: answers that are true at the moment, from what the database knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.pb.scheduler.v1.jobs_pb2 import ExplainJobRequest, ExplainJobResponse, PauseJobRequest, ResumeJobRequest
from ostinato_api import explain_job
from ostinato_engine.cron_loop import CronLoop
from tests.integration.api.served_api import ANA, Client, refused
from tests.integration.engine.stage import Stage

NAME = "projects/shop/jobs/j"
CONFIG = """
project: shop
jobs:
  - {id: j, noop: {}}
  - {id: up, noop: {}, triggers: [j]}
  - {id: tick, schedule: every 1h, noop: {}}
"""


async def explain(api: Client, name: str = NAME, at: datetime | None = None, **fields: Any) -> ExplainJobResponse:
    request = ExplainJobRequest(name=name, **fields)
    if at is not None:
        request.at.FromDatetime(at)
    answer: ExplainJobResponse = await api.send("ExplainJob", request)
    return answer


def codes(answer: ExplainJobResponse) -> list[str]:
    return [finding.code for finding in answer.findings]


@pytest.fixture
async def job_id(api: Client, stage: Stage) -> int:
    """Of `j`; an engine is alive."""
    await api.apply(CONFIG)
    await stage.claim()  # registers a worker
    found: int = await stage.db.fetchval("select job_id from job where name = 'j'")
    return found


async def test_a_pause_and_what_follows_it_have_different_first_lines(api: Client, stage: Stage, job_id: int) -> None:
    await stage.emit_ids(job_id, "a", "b", "c")
    await api.send("PauseJob", PauseJobRequest(name=NAME, reason="stock-taking"))
    await stage.triage_until_quiet()
    paused = await explain(api)
    assert codes(paused) == ["PAUSED", "TRIGGERS_DROPPED"]
    assert "by user:dev@localhost" in paused.findings[0].text
    assert paused.findings[0].text.endswith(": stock-taking.")
    assert "3 triggers started nothing: the job was paused" in paused.findings[1].text
    (record,) = paused.records
    assert (record.saw.pending, [(each.reason, each.count) for each in record.decisions]) == (3, [("PURGED_PAUSED", 3)])
    await api.send("ResumeJob", ResumeJobRequest(name=NAME))
    await stage.triage_until_quiet()
    resumed = await explain(api)
    assert codes(resumed)[0] == "UPSTREAM_NEVER_SUCCEEDED"
    assert "It runs after shop/up succeeds, which has never ended." in resumed.findings[0].text
    assert codes(resumed)[1:] == ["NOTHING_ASKED", "TRIGGERS_DROPPED"]


async def test_a_job_at_its_limit_names_the_run(api: Client, stage: Stage, job_id: int) -> None:
    await stage.emit_ids(job_id, "a")
    await stage.triage_until_quiet()
    await stage.emit_ids(job_id, "b", "c")
    await stage.triage_until_quiet()
    (run,) = await stage.active(job_id)
    first = (await explain(api)).findings[0]
    assert first.code == "AT_CONCURRENCY_LIMIT"
    assert first.text.startswith(
        f"2 triggers wait: it runs as often at once as it may, 1: shop/j/{run['invocation_id']} since"
    )


async def test_a_start_between_two_of_its_reads_is_in_all_of_them_or_in_none(
    api: Client, stage: Stage, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that nothing is recorded of the slot, which must not be, of one that was starting at the time."""
    tick: int = await stage.db.fetchval("select job_id from job where name = 'tick'")
    await stage.db.execute("update job_cron set slot = slot - interval '1 h', due_at = slot - interval '1 h'")
    await stage.db.execute("update job_schedule_span set from_at = from_at - interval '2 h'")
    slot: datetime = await stage.db.fetchval("select slot from job_cron where job_id = $1", tick)
    await CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics).fire_due()
    find_outcome = explain_job.find_outcome

    async def find_before_it_starts(*given: Any) -> Any:
        found = await find_outcome(*given)
        await stage.triage_until_quiet()
        return found

    monkeypatch.setattr(explain_job, "find_outcome", find_before_it_starts)
    assert codes(await explain(api, "projects/shop/jobs/tick", slot))[0] == "STILL_WAITING"
    monkeypatch.undo()
    assert codes(await explain(api, "projects/shop/jobs/tick", slot)) == ["STARTED"]


async def test_a_job_that_keeps_its_distance_says_until_when(api: Client, stage: Stage) -> None:
    await api.apply("project: shop\njobs: [{id: j, noop: {}, min_triage_interval: 1h}]")
    job_id: int = await stage.db.fetchval("select job_id from job where name = 'j'")
    await stage.emit_ids(job_id, "a")
    await stage.triage_until_quiet()
    (run,) = await stage.active(job_id)
    await stage.finish(run["invocation_id"])
    await stage.emit_ids(job_id, "b")
    await stage.triage_until_quiet()
    answer = await explain(api)
    assert codes(answer)[0] == "WAITING_INTERVAL"
    assert answer.findings[0].text.startswith("1 trigger waits until ")


async def test_records_are_the_newest_first_and_as_many_as_asked_for(api: Client, stage: Stage, job_id: int) -> None:
    for name in ("a", "b", "c"):
        await stage.emit_ids(job_id, name)
        await stage.triage_until_quiet()
    records = (await explain(api, limit=2)).records
    assert [record.saw.pending for record in records] == [2, 1]
    assert records[0].time.ToDatetime() > records[1].time.ToDatetime()


async def test_a_record_that_nobody_can_read_is_told_and_the_others_are_shown(
    api: Client, stage: Stage, job_id: int
) -> None:
    await stage.db.execute(
        "insert into triage_log (job_id, at, record) values ($1, now(), '{\"saw\": 3}'), ($1, now(), '{\"new\": 1}')",
        job_id,
    )
    errors = [record.error for record in (await explain(api)).records]
    assert sorted(error[:26] for error in errors) == ["", "this record can't be read:"]


async def test_engines_and_queues(api: Client, stage: Stage, job_id: int) -> None:
    await stage.db.execute("update tq_queue set paused_at = now() where name = 'launches'")
    await stage.db.execute("update tq_worker set expires_at = now() - interval '1 s'")
    assert codes(await explain(api))[:2] == ["NO_ENGINE", "QUEUE_PAUSED"]


async def test_a_slot_of_the_past_and_one_ahead(api: Client, stage: Stage, job_id: int) -> None:
    tick = "projects/shop/jobs/tick"
    tick_id: int = await stage.db.fetchval("select job_id from job where name = 'tick'")
    await stage.db.execute("update job_schedule_span set from_at = from_at - interval '3 h' where job_id = $1", tick_id)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await stage.emit_slot(tick_id, 900, hour)
    assert codes(await explain(api, tick, hour))[0] == "STILL_WAITING"
    await stage.triage_until_quiet()
    started = await explain(api, tick, hour)
    (run,) = await stage.active(tick_id)
    assert codes(started) == ["STARTED"]
    assert started.findings[0].text.endswith(f"did start a run: shop/tick/{run['invocation_id']}.")
    assert codes(await explain(api, tick, hour + timedelta(hours=5))) == ["AHEAD"]
    assert codes(await explain(api, tick, hour - timedelta(hours=1))) == ["NOT_RECORDED"]
    between = await explain(api, tick, hour - timedelta(minutes=90))
    assert codes(between) == ["NO_SLOT"]
    assert between.findings[0].text.endswith(f"the next one is {(hour - timedelta(hours=1)).isoformat()[:19]}Z.")
    assert codes(await explain(api, tick, hour - timedelta(days=1))) == ["NOT_THERE_YET"]


async def test_a_skipped_range_speaks_of_its_slots_only(api: Client, stage: Stage, job_id: int) -> None:
    tick = "projects/shop/jobs/tick"
    tick_id: int = await stage.db.fetchval("select job_id from job where name = 'tick'")
    await stage.db.execute("update job_schedule_span set from_at = from_at - interval '9 h' where job_id = $1", tick_id)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await stage.db.execute(
        "insert into occurrence (job_id, slot, until_slot, outcome, decided_at) values ($1, $2, $3, 7, now())",
        tick_id,
        hour - timedelta(hours=5),
        hour - timedelta(hours=2, minutes=30),
    )
    asked = {hours: codes(await explain(api, tick, hour - timedelta(hours=hours))) for hours in (5, 3, 2.5, 2)}
    assert asked == {5: ["SKIPPED_CATCHUP"], 3: ["SKIPPED_CATCHUP"], 2.5: ["NO_SLOT"], 2: ["NOT_RECORDED"]}


async def test_upstream_jobs_that_the_caller_may_not_see_are_not_named(api: Client, stage: Stage) -> None:
    readers = f'bindings: [{{role: reader, members: ["{ANA}"], realms: [open]}}]'
    jobs = "[{id: j, realm: open, noop: {}}, {id: hidden, realm: closed, noop: {}, triggers: [j]}]"
    await api.apply(f"project: shop\n{readers}\njobs: {jobs}")
    await stage.claim()
    assert "shop/hidden" in str(await explain(api))
    seen = await explain(api.as_user(ANA))
    assert codes(seen) == ["NOTHING_ASKED"]
    assert "hidden" not in str(seen)


async def test_jobs_with_similar_names_are_no_upstreams(api: Client, stage: Stage) -> None:
    await api.apply("project: shop\njobs: [{id: j, noop: {}}, {id: jj, noop: {}}, {id: up, noop: {}, triggers: [jj]}]")
    await stage.claim()
    assert codes(await explain(api)) == ["NOTHING_ASKED"]


async def test_bad_requests_name_their_fields(api: Client, job_id: int) -> None:
    refusal = await refused(explain(api, "shop/j", datetime(2026, 1, 1, microsecond=5, tzinfo=UTC), limit=-1))
    assert refusal.code == "INVALID_ARGUMENT"
    assert set(refusal.fields) == {"name", "at", "limit"}


async def test_who_may_not_see_the_job_learns_nothing(api: Client, job_id: int) -> None:
    assert (await refused(explain(api, "projects/shop/jobs/other"))).code == "NOT_FOUND"


async def test_a_slot_is_one_of_the_job_s_zone_and_waits_for_its_offset(api: Client, stage: Stage) -> None:
    await api.apply(
        "project: shop\njobs: [{id: j, schedule: 30 12 * * *, time_zone: Asia/Kolkata, offset: 12h, noop: {}}]"
    )
    ahead = await stage.db.fetchval("select slot from job_cron")
    assert (ahead.hour, ahead.minute) == (7, 0)
    assert codes(await explain(api, at=ahead))[0] == "AHEAD"
    passed = ahead - timedelta(days=1)
    await stage.db.execute(
        "update job_cron set slot = $1::timestamptz - interval '1 day', due_at = ostinato_now() + interval '1 h'",
        passed,
    )
    await stage.db.execute("update job_schedule_span set from_at = from_at - interval '7 days'")
    assert codes(await explain(api, at=passed))[0] == "STILL_WAITING"


async def test_a_schedule_that_never_matches_is_told_from_one_whose_slots_are_past_or_blacked_out(api: Client) -> None:
    await api.apply(
        """
project: shop
jobs:
  - {id: never, schedule: 0 0 30 2 *, noop: {}}
  - {id: past, schedule: 0 0 1 1 * 2020, noop: {}}
  - id: closed
    schedule: 0 3 * * *
    end_before: 2098-01-01T00:00:00Z
    blackouts: [{start_time: 2026-01-01T00:00:00Z, end_time: 2099-01-01T00:00:00Z}]
    noop: {}
"""
    )
    for name, words in {
        "never": "never matches",
        "past": "has no slot any more.",
        "closed": "all of them lie in blackouts",
    }.items():
        answer = await explain(api, f"projects/shop/jobs/{name}")
        (finding,) = [finding for finding in answer.findings if finding.code == "SCHEDULE_ENDED"]
        assert words in finding.text
