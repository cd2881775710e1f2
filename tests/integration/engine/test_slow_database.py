"""An engine whose statements run into their limit: it goes on by itself when there is nothing to wait for any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from ostinato.config.database import DatabaseSettings
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.taskqueue import list_dead_letters
from ostinato_engine.main import open_engine
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import ended, settings


@pytest.mark.parametrize("table", ["invocation", "tq_ready"])
async def test_statements_over_their_limit_are_made_again_and_nothing_is_lost_or_doubled(
    stage: Stage, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = stage.db.settings.url
    hasty = replace(settings(url), database=DatabaseSettings(url, statement_timeout=timedelta(milliseconds=200)))
    job_id = await stage.add_job("report")
    async with open_engine(hasty):
        await stage.emit_ids(job_id, "t0")
        assert await ended(stage, job_id, 1) == [S.SUCCEEDED]
        await stage.emit_ids(job_id, *(f"t{number}" for number in range(1, 20)))
        async with stage.db.transaction() as tx:
            await tx.execute(f"lock table {table} in access exclusive mode")
            async with asyncio.timeout(20):
                while "statement timeout" not in caplog.text:
                    await asyncio.sleep(0.01)
        consumed = "select count(*) from trigger where job_id = $1 and consumed_at is not null"
        async with asyncio.timeout(20):
            while await stage.db.fetchval(consumed, job_id) < 20 or await stage.active(job_id):
                await asyncio.sleep(0.01)
    statuses = await ended(stage, job_id, 2)
    assert set(statuses) == {S.SUCCEEDED}
    assert await list_dead_letters(stage.db) == []
