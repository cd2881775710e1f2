"""What a connection is told when it is made."""

from __future__ import annotations

import pytest

from ostinato.storage.database import DatabaseSettings, open_database


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


async def test_behind_a_pgbouncer_nothing_is_asked_of_the_connection(database_url: str) -> None:
    settings = DatabaseSettings(database_url, prepared_statements=False, plans_anew=True)
    async with open_database(settings) as database:
        assert await database.fetchval("select current_setting('plan_cache_mode')") == "auto"
        assert await database.fetchval("select current_setting('statement_timeout')") == "0"
