"""The due loop: each slot fires once, late ones too; what was missed is one range; nothing stops the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import Unavailable
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_definition_codec import encode_definition
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.transaction import Row
from ostinato.taskqueue import open_dispatcher
from ostinato_engine import triage_jobs
from ostinato_engine.cron_loop import CronLoop
from tests.integration.engine.crashes import CrashAt, everything
from tests.integration.engine.stage import Stage, trigger

SECOND = timedelta(seconds=1)


def loop_of(stage: Stage) -> CronLoop:
    return CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics)


async def cron_row(stage: Stage, job_id: int) -> Row:
    row = await stage.db.fetchrow("select * from job_cron where job_id = $1", job_id)
    assert row is not None
    return row


async def make_due(stage: Stage, job_id: int, slot: datetime) -> None:
    await stage.db.execute("update job_cron set slot = $2, due_at = $2 where job_id = $1", job_id, slot)


async def now(stage: Stage) -> datetime:
    at: datetime = await stage.db.fetchval("select ostinato_now()")
    return at


async def fire_all(loop: CronLoop) -> int:
    total = 0
    while fired := await loop.fire_due():
        total += fired
    return total


async def test_a_due_slot_becomes_a_trigger_a_kick_and_the_next_slot(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
    generation = (await cron_row(stage, job_id))["generation"]
    assert await loop_of(stage).fire_due() == 1

    row = await stage.db.fetchrow("select * from trigger where job_id = $1", job_id)
    assert row is not None
    body = Trigger.FromString(row["body"])
    assert row["trigger_id"] == body.id == f"cron:v1:{generation + 1}"
    assert row["slot"] == body.cron.slot.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    assert (body.cron.generation, row["kind"]) == (generation + 1, "CRON")
    assert [task.payload.job_id for task in await stage.claim()] == [job_id]

    planned = await cron_row(stage, job_id)
    assert planned["slot"] == planned["due_at"] > await now(stage)
    assert (planned["slot"].month, planned["slot"].day, planned["slot"].hour) == (1, 1, 0)
    assert await loop_of(stage).fire_due() == 0


async def test_what_was_missed_is_skipped_as_one_range_behind_the_slot_that_fires_late(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="* * * * * * *")
    week_ago = (await now(stage) - timedelta(days=7)).replace(microsecond=0)
    await make_due(stage, job_id, week_ago)
    assert await loop_of(stage).fire_due() == 1
    assert await stage.pending(job_id) == [f"cron:v1:{await stage.db.fetchval('select generation from job_cron') - 2}"]
    (skipped,) = await stage.ledger(job_id)
    planned = (await cron_row(stage, job_id))["slot"]
    assert (skipped["slot"], skipped["until_slot"]) == (week_ago + SECOND, planned)  # every second has a slot
    assert (skipped["outcome"], skipped["invocation_id"]) == (OccurrenceOutcome.SKIPPED_CATCHUP, None)
    assert planned > await now(stage) - SECOND


async def test_a_slot_on_time_skips_nothing(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
    await loop_of(stage).fire_due()
    assert await stage.ledger(job_id) == []


async def test_an_interval_fires_without_a_slot_and_waits_to_be_rewound(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="with 10m interval")
    await make_due(stage, job_id, await now(stage))
    await loop_of(stage).fire_due()
    assert await stage.db.fetchval("select slot is null from trigger where job_id = $1", job_id)
    row = await cron_row(stage, job_id)
    assert (row["slot"], row["due_at"], row["last_rewind_at"]) == (None, None, None)
    await stage.triage()
    (run,) = await stage.active(job_id)
    assert (run["scheduled_for"], stage.rewinds) == (None, [])
    await stage.finish(run["invocation_id"])
    await stage.triage()
    assert (await cron_row(stage, job_id))["due_at"] is not None
    assert stage.rewinds == [1]
    assert await stage.ledger(job_id) == []


async def test_an_interval_that_fires_while_an_idle_job_is_triaged_is_not_rewound_before_its_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The triage saw no trigger, then a row that had fired: it counted from before the run."""
    job_id = await stage.add_job("j", schedule="with 10m interval")
    await make_due(stage, job_id, await now(stage))
    load_jobs = triage_jobs.load_jobs

    async def load_before_it_fires(*given: Any) -> Any:
        loading = await load_jobs(*given)
        monkeypatch.undo()
        assert await fire_all(loop_of(stage)) == 1
        return loading

    monkeypatch.setattr(triage_jobs, "load_jobs", load_before_it_fires)
    async with stage.db.transaction() as tx:
        await kick_triage(tx, stage.dispatcher, [(job_id, 1)])
    await stage.triage_until_quiet()
    (run,) = await stage.active(job_id)
    row = await cron_row(stage, job_id)
    assert (row["slot"], row["last_rewind_at"], stage.rewinds) == (None, None, [])
    await stage.finish(run["invocation_id"])
    await stage.triage_until_quiet()
    assert (await cron_row(stage, job_id))["due_at"] is not None


async def test_a_fired_slot_ends_in_the_ledger_once_triage_decided(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    slot = datetime(2026, 1, 1, tzinfo=UTC)
    await make_due(stage, job_id, slot)
    await loop_of(stage).fire_due()
    await stage.triage()
    (row,) = await stage.ledger(job_id)
    (run,) = await stage.active(job_id)
    assert (row["slot"], row["outcome"], row["invocation_id"]) == (
        slot,
        OccurrenceOutcome.STARTED,
        run["invocation_id"],
    )
    assert run["scheduled_for"] == slot
    assert await stage.db.fetchval("select count(*) from trigger") == 0


async def test_two_loops_racing_fire_each_of_a_thousand_due_rows_once(
    database: Database, database_url: str, stage: Stage
) -> None:
    due = datetime(2026, 1, 1, tzinfo=UTC)
    await database.execute(
        """
        insert into job_cron (job_id, project_id, job_name, schedule, enabled, generation, last_rewind_at, slot, due_at)
        select n, 1, 'projects/shop/jobs/j' || n, '0 0 1 1 *', true, 1, $1, $1, $1 from generate_series(1, 1000) n
        """,
        due,
    )
    async with (
        open_database(DatabaseSettings(database_url)) as other_db,
        open_dispatcher(other_db, classes=ENGINE_TASK_CLASSES, notify=False) as dispatcher,
    ):
        loops = [loop_of(stage), loop_of(Stage(other_db, dispatcher))]
        looked_at = await asyncio.gather(*map(fire_all, loops))
    assert sum(looked_at) == 1000
    assert await database.fetchval("select count(*) from trigger") == 1000
    assert await database.fetchval("select count(distinct job_id) from trigger") == 1000
    assert len(await stage.claim(room=2000)) == 1000
    assert await database.fetchval("select count(*) from job_cron where due_at > ostinato_now()") == 1000


async def test_a_row_held_elsewhere_is_left_to_its_holder(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
    loop = loop_of(stage)
    async with database.transaction() as tx:
        await tx.execute("select 1 from job_cron where job_id = $1 for no key update", job_id)
        assert timedelta(0) < await loop.look_once() < SECOND / 10
    assert await stage.pending(job_id) == []
    assert await loop.look_once() == timedelta(0)
    assert len(await stage.pending(job_id)) == 1


# An edit and a tick of one due slot: whoever comes first fires it, as the old schedule has it, and nobody else does.


async def edit(stage: Stage, job_id: int, name: str, schedule: str) -> None:
    """As an applied config does it."""
    async with stage.db.transaction() as tx:
        definition = encode_definition(JobDefinition(id=name, schedule=schedule))
        await tx.execute("update job set definition = $2 where job_id = $1", job_id, definition)
        await stage.poke(tx, [await stage._wish(job_id, name, schedule)])


async def assert_fired_once(stage: Stage, job_id: int, slot: datetime, schedule: str) -> None:
    assert await stage.db.fetch("select slot from trigger where job_id = $1", job_id) == [(slot,)]
    row = await cron_row(stage, job_id)
    planned = cached_timetable(schedule).next_after(await now(stage))
    assert (row["schedule"], row["slot"], row["due_at"]) == (schedule, planned, planned)
    await stage.triage_until_quiet()
    outcomes = await stage.db.fetch("select slot, outcome from occurrence where until_slot is null")
    assert outcomes == [(slot, OccurrenceOutcome.STARTED)]
    assert await fire_all(loop_of(stage)) == 0


# Whoever is called `ticking` reads the clock, and with it goes on in its statement, once the test lets it.
_HOLD_THE_TICK = """
create or replace function ostinato_now() returns timestamptz language plpgsql volatile as $$
begin
    if current_setting('application_name') = 'ticking' then
        perform pg_advisory_xact_lock(31);
    end if;
    return clock_timestamp();
end $$
"""


@pytest.mark.parametrize("schedule", ["0 0 1 7 *", "triggered"])
async def test_an_edit_that_commits_between_the_snapshot_of_a_tick_and_its_lock_is_the_one_that_fires(
    database_url: str, stage: Stage, schedule: str
) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    slot = datetime(2026, 1, 1, tzinfo=UTC)
    await make_due(stage, job_id, slot)
    await stage.db.execute(_HOLD_THE_TICK)
    async with open_database(DatabaseSettings(database_url, application_name="ticking")) as ticking:
        loop = CronLoop(ticking, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics)
        async with stage.db.transaction() as holding:
            await holding.execute("select pg_advisory_xact_lock(31)")
            tick = asyncio.ensure_future(loop.fire_due())
            await stage.until_somebody_waits()  # its snapshot sees the row as it was
            await edit(stage, job_id, "j", schedule)
        assert await tick == 0
    await assert_fired_once(stage, job_id, slot, schedule)


class HeldCommit:
    """A gate before a commit."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def before(self, step: str, _connection: object) -> None:
        if step == "COMMIT":
            self.reached.set()
            await self.open.wait()

    def after(self, step: str) -> None:
        pass


@pytest.mark.parametrize("schedule", ["0 0 1 7 *", "triggered"])
async def test_an_edit_that_waits_for_a_tick_goes_on_from_what_that_left(
    database_url: str, stage: Stage, schedule: str
) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    slot = datetime(2026, 1, 1, tzinfo=UTC)
    await make_due(stage, job_id, slot)
    gate = HeldCommit()
    async with (
        open_database(DatabaseSettings(database_url), gate=gate) as gated,
        open_dispatcher(stage.db, classes=ENGINE_TASK_CLASSES, notify=False) as dispatcher,
    ):
        loop = CronLoop(gated, dispatcher, clock=SystemClock(), metrics=stage.metrics)
        tick = asyncio.ensure_future(loop.fire_due())
        await gate.reached.wait()
        editing = asyncio.ensure_future(edit(stage, job_id, "j", schedule))
        await stage.until_somebody_waits()
        gate.open.set()
        assert await tick == 1
        await editing
    await assert_fired_once(stage, job_id, slot, schedule)


async def test_a_schedule_that_cannot_be_read_keeps_its_slot_and_stops_nobody(
    database: Database, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    broken, healthy = (
        await stage.add_job("broken", schedule="0 0 1 1 *"),
        await stage.add_job("h", schedule="0 0 1 1 *"),
    )
    slot = datetime(2026, 1, 1, tzinfo=UTC)
    for job_id in (broken, healthy):
        await make_due(stage, job_id, slot)
    await database.execute("update job_cron set schedule = 'of a later release' where job_id = $1", broken)
    with caplog.at_level(logging.ERROR):
        assert await fire_all(loop_of(stage)) == 2
    assert len(await stage.pending(healthy)) == 1
    assert await stage.pending(broken) == []
    row = await cron_row(stage, broken)
    assert row["slot"] == slot
    assert timedelta(seconds=50) < row["due_at"] - await now(stage) <= timedelta(seconds=60)
    assert "of a later release" in (await stage.job(broken))["last_error"]
    assert "projects/shop/jobs/broken" in caplog.text

    await database.execute("update job_cron set schedule = '0 0 1 1 *', due_at = slot where job_id = $1", broken)
    await loop_of(stage).fire_due()
    assert await database.fetchval("select slot from trigger where job_id = $1", broken) == slot


@pytest.mark.leaves_damage("a row that no release would write")
async def test_a_due_row_that_must_not_fire_is_put_off_and_not_spun_upon(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
    await database.execute("update job_cron set enabled = false")
    assert await fire_all(loop_of(stage)) == 1
    assert await stage.pending(job_id) == []


async def test_a_slot_whose_id_somebody_else_took_is_told_of(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    generation = (await cron_row(stage, job_id))["generation"]
    await stage.emit(job_id, trigger(f"cron:v1:{generation + 1}"))
    await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
    with caplog.at_level(logging.ERROR):
        await loop_of(stage).fire_due()
    assert "was taken by another trigger" in caplog.text


async def test_it_sleeps_until_the_next_due_time_and_at_most_a_second(stage: Stage) -> None:
    loop = loop_of(stage)
    assert await loop.look_once() == SECOND
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    assert await loop.look_once() == SECOND
    await make_due(stage, job_id, await now(stage) + timedelta(milliseconds=600))
    assert timedelta(milliseconds=100) < await loop.look_once() < timedelta(milliseconds=600)


async def test_a_paused_job_and_one_without_a_schedule_are_never_due(stage: Stage) -> None:
    await stage.add_job("j")
    assert await fire_all(loop_of(stage)) == 0
    assert await stage.db.fetchval("select count(*) from job_cron where due_at is not null") == 0


class StoppedClock(SystemClock):
    """Sleeps last until the test lets time pass."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.time_passes = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.time_passes.wait()


@asynccontextmanager
async def running(loop: CronLoop) -> AsyncIterator[None]:
    task = asyncio.ensure_future(loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_asleep(clock: StoppedClock) -> None:
    async with asyncio.timeout(10):
        while not clock.slept:
            await asyncio.sleep(0.005)


async def test_being_woken_shortens_the_sleep(stage: Stage) -> None:
    clock = StoppedClock()
    loop = CronLoop(stage.db, stage.dispatcher, clock=clock, metrics=stage.metrics)
    async with running(loop):
        await until_asleep(clock)
        job_id = await stage.add_job("j", schedule="0 0 1 1 *")
        await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
        loop.wake()
        await stage.until("select count(*) = 1 from trigger")
    assert not clock.time_passes.is_set()


class FailingGate(CrashAt):
    """Fails everything until told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.down = True
        self.refused = 0

    async def before(self, step: str, connection: object) -> None:
        if self.down:
            self.refused += 1
            raise Unavailable("the database is away")


class PatientClock(SystemClock):
    """Sleeps are short, their lengths are kept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def test_it_survives_a_database_that_is_away_and_asks_less_and_less_often(
    database_url: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *")
    await make_due(stage, job_id, datetime(2026, 1, 1, tzinfo=UTC))
    gate, clock = FailingGate(), PatientClock()
    async with open_database(DatabaseSettings(database_url), gate=gate) as gated:
        loop = CronLoop(gated, stage.dispatcher, clock=clock, metrics=stage.metrics)
        async with running(loop):
            async with asyncio.timeout(10):
                while gate.refused < 10:
                    await asyncio.sleep(0.001)
            gate.down = False
            await stage.until("select count(*) = 1 from trigger")
    assert clock.slept[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(clock.slept) <= 10
    assert "the database is away" in caplog.text


async def test_a_crash_before_any_step_leaves_everything_and_the_next_try_fires_once(
    database: Database, database_url: str, stage: Stage
) -> None:
    job_id = await stage.add_job("j", schedule="* * * * *")
    await make_due(stage, job_id, (await now(stage)).replace(second=0, microsecond=0) - timedelta(hours=1))
    before = await everything(database)
    gate, crashes = CrashAt(), []
    async with (
        open_database(DatabaseSettings(database_url), gate=gate) as gated,
        open_dispatcher(gated, classes=ENGINE_TASK_CLASSES, notify=False) as dispatcher,
    ):
        await dispatcher._ids.take(1, None)  # a block of ids is fetched once and not in every try
        loop = CronLoop(gated, dispatcher, clock=SystemClock(), metrics=stage.metrics)
        for step in range(1, 50):
            gate.left = step
            try:
                fired = await loop.fire_due()
            except Unavailable:
                crashes.append(gate.step)
                assert await everything(database) == before
                continue
            break
    assert (fired, crashes[-1]) == (1, "COMMIT")
    assert len(crashes) >= 7
    assert len(await stage.pending(job_id)) == 1
    assert [task.payload.job_id for task in await stage.claim()] == [job_id]
