"""What an engine tells of itself: per queue and class, how late, how long, how full."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ostinato.clock import SystemClock
from ostinato.jobflow.engine_tasks import LAUNCH_INVOCATION, TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.storage.database import Database
from ostinato.taskqueue import QueueMeasure
from ostinato.taskqueue.queue_measure import LOOK_EVERY
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import ended, running

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(address: str) -> Samples:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def test_tasks_are_counted_by_queue_class_and_event_with_their_times(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    async with running(stage) as engine:
        await stage.emit_ids(job_id, "t1")
        await ended(stage, job_id, 1)
        async with asyncio.timeout(10):
            while True:  # the end is written after the run is in the history
                samples = await scrape(engine.http_address)
                launch = {"queue": LAUNCH_INVOCATION.queue, "class": LAUNCH_INVOCATION.name}
                if value(samples, "ostinato_taskqueue_tasks_total", **launch, event="done") == 1:
                    break
    triage = {"queue": TRIAGE_JOB.queue, "class": TRIAGE_JOB.name}
    assert value(samples, "ostinato_taskqueue_tasks_total", **launch, event="claimed") == 1
    assert value(samples, "ostinato_taskqueue_tasks_total", **triage, event="done") >= 2
    assert value(samples, "ostinato_taskqueue_tasks_total", **triage, event="dead") == 0
    assert value(samples, "ostinato_taskqueue_added_total", **launch) == 1
    assert value(samples, "ostinato_taskqueue_latency_seconds_count", **launch) == 1
    assert 0 < value(samples, "ostinato_taskqueue_duration_seconds_sum", **launch) < 10
    assert value(samples, "ostinato_engine_triage_jobs_count") >= 2
    assert value(samples, "ostinato_taskqueue_depth", queue="launches", state="ready") == 0


async def test_depth_and_age_are_counted_by_one_for_all_and_not_more_often_than_asked(
    stage: Stage, database: Database
) -> None:
    async with database.transaction() as tx:
        await stage.dispatcher.add(TRIAGE_JOB, TriageJobTask(job_id=4711), tx=tx)
        await stage.dispatcher.add(TRIAGE_JOB, TriageJobTask(job_id=4711), tx=tx, delay=timedelta(hours=1))
    await database.execute("update tq_ready set ready_at = ready_at - interval '1 minute'")
    first, second = SteppedClock(), SteppedClock()
    one, other = measure(first, database), measure(second, database)
    await one.refresh()
    assert {depth.name: (depth.ready, depth.later) for depth in one.depths}["triages"] == (1, 1)
    assert {depth.name: depth.oldest for depth in one.depths}["triages"] == pytest.approx(60, abs=20)
    await database.execute("delete from tq_ready")
    await other.refresh()
    assert other.depths == one.depths, "counted 15 s ago at most"
    await database.execute("update tq_measure set measured_at = measured_at - interval '16 seconds'")
    await other.refresh()
    assert other.depths == one.depths, "asked again within five seconds"
    second.seconds += LOOK_EVERY
    await other.refresh()
    assert {depth.name: depth.ready for depth in other.depths}["triages"] == 0


async def test_a_count_that_is_under_way_elsewhere_is_not_made_twice(stage: Stage, database: Database) -> None:
    async with database.transaction() as tx:
        await tx.fetch("select from tq_measure for update")
        measured = measure(SteppedClock(), database)
        async with asyncio.timeout(5):
            await measured.refresh()
    assert measured.depths == ()


async def test_numbers_that_nobody_could_renew_for_minutes_are_left_out(stage: Stage, database: Database) -> None:
    clock = SteppedClock()
    measured = measure(clock, database)
    await measured.refresh()
    assert measured.depths
    await database.execute(
        "update tq_measure set measured_at = measured_at - interval '6 minutes', took = interval '10 minutes'"
    )
    clock.seconds += LOOK_EVERY
    await measured.refresh()
    assert measured.depths == ()


class SteppedClock(SystemClock):
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def measure(clock: SteppedClock, database: Database) -> QueueMeasure:
    measured = QueueMeasure(clock)
    measured.begin(database)
    return measured
