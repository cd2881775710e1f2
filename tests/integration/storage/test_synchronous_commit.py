"""A commit that waits for a standby which is not there, and is cut short: it happened, but perhaps not for good."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from ostinato.errors import CommitOutcomeUnknown
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings
from ostinato.testing.server import temporary_home

_CUT_SHORT = "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'"


async def _insert(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("insert into note values (1)")


async def test_a_commit_cut_short_while_it_waits_for_a_standby_is_in_doubt() -> None:
    """Whoever asked must not act as if it would survive a failover, nor as if it had not happened."""
    with temporary_home() as home:
        server = EmbeddedServer(home, ServerSettings((("fsync", "off"),), sync_new_cluster=False))
        await server.start()
        try:
            admin = await asyncpg.connect(server.superuser_url())
            await admin.execute("create table note (id int)")
            await admin.execute("alter system set synchronous_standby_names = 'nobody'")
            await admin.execute("select pg_reload_conf()")
            async with open_database(DatabaseSettings(server.superuser_url())) as database:
                committing = asyncio.ensure_future(_insert(database))
                inserted = 1
                async with asyncio.timeout(10):
                    while not await admin.fetchval(_CUT_SHORT):
                        await asyncio.sleep(0.01)
                        if committing.done():  # the server had not read its new settings yet
                            await committing
                            committing = asyncio.ensure_future(_insert(database))
                            inserted += 1
                with pytest.raises(CommitOutcomeUnknown):
                    await committing
            assert await admin.fetchval("select count(*) from note") == inserted
            await admin.close()
        finally:
            await server.stop()
