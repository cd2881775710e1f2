"""Queues of a running engine: the emergency stop of all launches, and limits from its settings."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp import web

from ostinato.config.queue_limits import QueueLimits
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.targets import HttpSpec
from ostinato.taskqueue import pause_queue, queue_stats, resume_queue
from ostinato_engine.main import open_engine
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import called_service, ended, running, settings


async def test_a_pause_of_launches_stops_all_new_runs_and_loses_none(stage: Stage) -> None:
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response()

    async with called_service(answer) as url, running(stage):
        jobs = [await stage.add_job(f"job-{n}", target=HttpSpec(url=f"{url}{n}")) for n in range(5)]
        await stage.emit_ids(jobs[0], "first")
        assert await ended(stage, jobs[0], 1) == [S.SUCCEEDED]
        await pause_queue(stage.db, "launches")
        for job in jobs[1:]:
            await stage.emit_ids(job, "t")
        async with asyncio.timeout(10):
            while await stage.db.fetchval("select count(*) from invocation") < 4:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert calls == ["/0"]
        # They are decided and wait.
        launches = next(queue for queue in await queue_stats(stage.db) if queue.name == "launches")
        assert (launches.ready, launches.claimed) == (4, 0)
        await resume_queue(stage.db, "launches")
        for job in jobs[1:]:
            assert await ended(stage, job, 1) == [S.SUCCEEDED]
    assert sorted(calls) == [f"/{n}" for n in range(5)]


async def test_two_engines_together_call_no_more_targets_at_once_than_their_setting_says(stage: Stage) -> None:
    now = most = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return web.Response()

    limited = replace(settings(stage.db.settings.url), queue_limits=(QueueLimits("launches", concurrent=2),))
    async with called_service(answer) as url:
        jobs = [await stage.add_job(f"job-{n}", target=HttpSpec(url=url)) for n in range(20)]
        async with open_engine(limited), open_engine(limited):
            for job in jobs:
                await stage.emit_ids(job, "t")
            for job in jobs:
                assert await ended(stage, job, 1) == [S.SUCCEEDED]
        assert most == 2
        async with open_engine(settings(stage.db.settings.url)):  # without the setting the limit is gone
            launches = next(queue for queue in await queue_stats(stage.db) if queue.name == "launches")
    assert launches.max_concurrent is None
