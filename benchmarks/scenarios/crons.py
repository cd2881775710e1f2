"""Schedules that are due at one instant, and what the engine needs to know them. The database's clock is the judge."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from benchmarks.comparison import Comparison, Target, also_at_most, at_most
from benchmarks.installation import ENDED, Installation, emission, open_installation
from benchmarks.laboratory import Laboratory
from benchmarks.results import Sample, Series
from benchmarks.sizes import Sizes

_LONGEST = 300.0
_YEARLY = 'schedule: "0 0 1 1 *", noop: {}'
_NOTICE, _PLANNED_IN = timedelta(seconds=2), timedelta(microseconds=50)
_LATE = """
select percentile_cont(array[0.5, 0.99, 1.0]) within group (order by extract(epoch from h.started_at - h.scheduled_for))
  from invocation_history h
 where h.scheduled_for is not null
"""
_LAUNCHED_AFTER = """
select extract(epoch from h.started_at - $2) from invocation_history h join job j using (job_id) where j.project = $1
"""


async def fire_at_once(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    lines: list[Comparison] = []
    for count in sizes.crons:
        samples = [await _fire(laboratory, count) for _ in range(sizes.repetitions if count <= 10_000 else 1)]
        lines += _lines(count, [late for late, _ in samples], [memory for _, memory in samples])
    return lines


def _lines(count: int, late: list[Sample], memory: list[Sample]) -> list[Comparison]:
    work = f"{count:,} schedules due in the same second: p99 of the starts is late by"
    kept = f"memory of the engine that fired {count:,} schedules"
    most = 2 if count <= 10_000 else 30
    goal: Target = at_most(most, "s") & also_at_most("another trigger meanwhile", most, "s")
    return [
        Comparison(work, "s", Series(tuple(late)), goal=goal),
        Comparison(kept, "MB", Series(tuple(memory)), goal=at_most(150, "MB")),
    ]


async def _fire(laboratory: Laboratory, count: int) -> tuple[Sample, Sample]:
    async with open_installation(laboratory) as installation:
        await installation.apply("herd", [_YEARLY])
        (other,) = await installation.apply("other", ["noop: {}"])
        await installation.copy_job("herd", count)
        await _sleep_until(installation, await installation.plan_copies(_NOTICE + count * _PLANNED_IN))
        with laboratory.observe(installation.api, installation.engine) as usage:
            await asyncio.sleep(0.2)  # into the herd
            emitted_at = await installation.database.fetchval("select ostinato_now()")
            await installation.client.emit_triggers(emission([other], ["meanwhile"]))
            await installation.until(ENDED, count + 1, seconds=_LONGEST)
        p50, p99, last = map(float, (await installation.database.fetchval(_LATE)))
        meanwhile = float(await installation.database.fetchval(_LAUNCHED_AFTER, "other", emitted_at))
        late = Sample(p99, count, usage, also={"p50": p50, "last": last, "another trigger meanwhile": meanwhile})
        return late, Sample(installation.engine.memory_megabytes or 0.0)


async def _sleep_until(installation: Installation, at: datetime) -> None:
    now: datetime = await installation.database.fetchval("select ostinato_now()")
    await asyncio.sleep(max(0.0, (at - now).total_seconds()))
