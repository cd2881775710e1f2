"""Stored data that can't be read: said where people look, and never a reason for other jobs to wait."""

from __future__ import annotations

import logging

import pytest

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.triage import TriagePlan, TriageSnapshot, decide_triage
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, Handler
from ostinato_engine import triage_jobs as triage_module
from tests.integration.engine.stage import Stage
from tests.integration.taskqueue.conftest import running


async def break_definition(database: Database, job_id: int) -> None:
    await database.execute("update job set definition = '\\xff', version = version + 1 where job_id = $1", job_id)


async def test_a_job_with_an_unreadable_definition_starts_nothing_and_says_so(
    database: Database, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    broken, healthy = await stage.add_job("broken"), await stage.add_job("healthy")
    await break_definition(database, broken)
    for job_id in (broken, healthy):
        await stage.emit_ids(job_id, "t")
    with caplog.at_level(logging.ERROR):
        assert await stage.triage() == [None, None]
    assert len(await stage.active(healthy)) == 1
    assert await stage.active(broken) == []
    assert await stage.pending(broken) == ["t"]
    assert "definition can't be read" in (await stage.job(broken))["last_error"]
    (record,) = await stage.triage_records(broken)
    assert "definition can't be read" in record["error"]
    assert record["decisions"] == []
    assert "projects/shop/jobs/broken" in caplog.text


async def test_what_waits_for_a_readable_definition_starts_once_there_is_one(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    good = (await stage.job(job_id))["definition"]
    await break_definition(database, job_id)
    await stage.emit_ids(job_id, "t")
    await stage.triage()
    await database.execute("update job set definition = $2, version = version + 1 where job_id = $1", job_id, good)
    await stage.kick(job_id)
    await stage.triage()
    assert len(await stage.active(job_id)) == 1


async def test_the_ends_of_a_job_with_an_unreadable_definition_are_acknowledged(
    database: Database, stage: Stage
) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t")
    await stage.triage()
    (run,) = await stage.active(job_id)
    await break_definition(database, job_id)
    await stage.finish(run["invocation_id"])
    await stage.triage()
    assert await stage.active(job_id) == []
    assert "definition can't be read" in (await stage.job(job_id))["last_error"]


@pytest.mark.parametrize("body", [b"\xff\xff", b"", b"\x0a\x05other"])
async def test_a_trigger_with_a_damaged_body_starts_its_run_without_the_payload(
    database: Database, stage: Stage, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "good", "bad")
    await database.execute("update trigger set body = $2 where job_id = $1 and trigger_id = 'bad'", job_id, body)
    with caplog.at_level(logging.ERROR):
        await stage.triage()
    (run,) = await stage.active(job_id)
    good, bad = TriggerList.FromString(run["incoming"]).triggers
    assert (good.id, good.WhichOneof("payload")) == ("good", "event")
    assert (bad.id, bad.emitted_by, bad.WhichOneof("payload")) == ("bad", good.emitted_by, None)
    assert bad.create_time == good.create_time
    assert await stage.pending(job_id) == []
    assert "trigger bad" in (await stage.job(job_id))["last_error"]
    assert "trigger bad" in (await stage.triage_records(job_id))[-1]["error"]
    assert "without a payload" in caplog.text


def fail_for(poison: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours that only one job runs into."""

    def decide(snapshot: TriageSnapshot) -> TriagePlan:
        if any(trigger.id == poison for trigger in snapshot.triggers):
            raise ZeroDivisionError("a bug")
        return decide_triage(snapshot)

    monkeypatch.setattr(triage_module, "decide_triage", decide)


async def test_a_triage_that_fails_is_recorded_when_its_job_is_known(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_for("poison", monkeypatch)
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "poison")
    with pytest.raises(ZeroDivisionError):
        await stage.triage()
    assert "ZeroDivisionError: a bug" in (await stage.job(job_id))["last_error"]
    assert (await stage.triage_records(job_id))[-1] == {"error": "the triage failed: ZeroDivisionError: a bug"}
    assert await stage.pending(job_id) == ["poison"]


async def test_of_a_batch_that_fails_nobody_is_blamed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for("poison", monkeypatch)
    sick, healthy = await stage.add_job("sick"), await stage.add_job("healthy")
    await stage.emit_ids(sick, "poison")
    await stage.emit_ids(healthy, "t")
    with pytest.raises(ZeroDivisionError):
        await stage.triage()
    assert (await stage.job(healthy))["last_error"] == ""
    assert await stage.triage_records(sick) == []


async def test_a_poisoned_job_does_not_hold_up_those_it_is_claimed_with(
    database: Database, dispatcher: Dispatcher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_for("poison", monkeypatch)
    jobs = [await stage.add_job(f"j{number}") for number in range(5)]
    for number, job_id in enumerate(jobs):
        await stage.emit_ids(job_id, "poison" if number == 2 else "t")
    handler = Handler.batch(TRIAGE_JOB, stage.triage_jobs.handle_triage_jobs)
    async with running(database, dispatcher, handler):
        await stage.until("select count(*) = 4 from invocation")
    assert [len(await stage.active(job_id)) for job_id in jobs] == [1, 1, 0, 1, 1]
    assert "ZeroDivisionError" in (await stage.job(jobs[2]))["last_error"]
    assert await stage.pending(jobs[2]) == ["poison"]
