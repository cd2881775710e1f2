"""What a connection is told when it is made."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.errors import Contention
from ostinato.storage.database import DatabaseSettings, open_database
from ostinato.storage.transaction import Tx


@pytest.mark.parametrize(("plans_anew", "mode"), [(True, "force_custom_plan"), (False, "auto")])
async def test_the_scheduler_plans_for_the_sizes_of_the_moment(database_url: str, plans_anew: bool, mode: str) -> None:
    async with open_database(DatabaseSettings(database_url, plans_anew=plans_anew)) as database:
        assert await database.fetchval("select current_setting('plan_cache_mode')") == mode
        assert await database.fetchval("select current_setting('enable_seqscan')") == ("off" if plans_anew else "on")


@pytest.mark.parametrize("prepared_statements", [True, False])
async def test_transactions_about_few_rows_keep_their_plans_and_leave_no_setting(
    database_url: str, prepared_statements: bool
) -> None:
    settings = DatabaseSettings(database_url, prepared_statements=prepared_statements, pool_size=1)
    shown = "select current_setting('plan_cache_mode') || ' ' || current_setting('enable_seqscan')"
    async with open_database(settings) as database:
        async with database.transaction(few_rows=True) as tx:
            assert await tx.fetchval(shown) == "force_generic_plan off"
        assert await database.fetchval(shown) == "auto on"


async def test_who_waits_long_for_a_lock_gives_up_its_own_and_begins_anew(database_url: str) -> None:
    hasty = DatabaseSettings(database_url, lock_timeout=timedelta(milliseconds=50), pool_size=2)
    async with open_database(DatabaseSettings(database_url)) as patient, open_database(hasty) as database:
        assert await patient.fetchval("select current_setting('lock_timeout')") == "5s"
        attempts = 0

        async def work(tx: Tx) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 2:
                await holding.execute("rollback")
            await tx.execute("lock table tq_queue")

        async with patient.side_connection() as holding:
            await holding.execute("begin")
            await holding.execute("lock table tq_queue")
            with pytest.raises(Contention):
                await database.execute("select count(*) from tq_queue")
            await database.transact(work)
        assert attempts == 2


async def test_behind_a_pgbouncer_nothing_is_asked_of_the_connection(database_url: str) -> None:
    settings = DatabaseSettings(database_url, prepared_statements=False, plans_anew=True)
    async with open_database(settings) as database:
        assert await database.fetchval("select current_setting('plan_cache_mode')") == "auto"
        assert await database.fetchval("select current_setting('statement_timeout')") == "0"
