"""A pause or an applied config that waits for the tick of a job happens after it, for every reader of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from ostinato.pb.scheduler.v1 import jobs_pb2
from tests.integration.api.served_api import Client
from tests.integration.engine.stage import Stage

CONFIG = """
project: shop
jobs:
  - {id: report, schedule: every 1s, noop: {}}
"""
Edit: TypeAlias = Callable[[Client], Awaitable[object]]


async def pause(api: Client) -> None:
    await api.send("PauseJob", jobs_pb2.PauseJobRequest(name="projects/shop/jobs/report"))


async def reschedule(api: Client) -> None:
    await api.apply(CONFIG.replace("every 1s", "every 2s"))


async def remove(api: Client) -> None:
    await api.apply(CONFIG.replace("id: report", "id: another"))


@pytest.mark.parametrize("edit", [pause, reschedule, remove])
async def test_an_edit_that_waits_for_a_tick_is_later_than_its_slot(api: Client, stage: Stage, edit: Edit) -> None:
    """Otherwise the slot just fired would be one of the schedule from then on, which may have no such slot."""
    await api.apply(CONFIG)
    job_id = await stage.db.fetchval("select job_id from job")
    async with stage.db.transaction() as tick:
        await tick.execute("select 1 from job_cron where job_id = $1 for no key update", job_id)
        editing = asyncio.ensure_future(edit(api))
        await stage.until_somebody_waits()
        slot = await tick.now()
    await editing
    spans = await stage.db.fetch("select from_at from job_schedule_span where job_id = $1 order by 1", job_id)
    assert len(spans) == 2
    assert spans[1]["from_at"] > slot
