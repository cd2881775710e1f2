"""The databases that other tests are given."""

from __future__ import annotations

from ostinato.storage.database import Database, DatabaseSettings, open_database


async def test_a_test_database_is_migrated_and_has_partitions(database: Database) -> None:
    assert await database.fetchval("select count(*) from job") == 0
    assert await database.fetchval("select count(*) from pg_inherits") > 0


async def test_real_time_passes_in_a_test_database(database: Database) -> None:
    assert await database.fetchval("select ostinato_now() between now() and clock_timestamp()")


async def test_virtual_time_is_what_the_test_says(virtual_database_url: str) -> None:
    async with open_database(DatabaseSettings(virtual_database_url)) as database:
        await database.execute("insert into testing_clock (now) values ('2031-01-01T00:00:00Z')")
        assert await database.fetchval("select ostinato_now() = '2031-01-01T00:00:00Z'")


async def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    async with open_database(DatabaseSettings(empty_database_url)) as database:
        assert await database.fetchval("select to_regclass('job')") is None
