"""Transactions: hooks around the commit, and what is known after every way in which one can end."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from ostinato.errors import CommitOutcomeUnknown, Contention, Unavailable
from ostinato.storage.commit_protocol import commit
from ostinato.storage.database import Database, DatabaseSettings, open_database, transaction_on
from ostinato.storage.transaction import Connection, Gate, Tx, affected
from ostinato.storage.translate import DatabaseError
from ostinato.testing.tcp_proxy import TcpProxy, open_tcp_proxy


@pytest.fixture
async def note(database: Database) -> Database:
    """A database with a table to write into."""
    await database.execute("create table note (id int primary key, text text not null default '')")
    return database


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    async with open_tcp_proxy(database_url) as opened:
        yield opened


async def notes(database: Database) -> list[int]:
    return [row["id"] for row in await database.fetch("select id from note order by id")]


async def write(tx: Tx, note_id: int) -> None:
    await tx.execute("insert into note (id) values ($1)", note_id)


class BoomError(Exception):
    pass


async def test_what_is_written_is_there_after_the_block(note: Database) -> None:
    async with note.transaction() as tx:
        await write(tx, 1)
        assert await notes(note) == []
    assert await notes(note) == [1]


async def test_an_error_rolls_everything_back_and_comes_through_unchanged(note: Database) -> None:
    with pytest.raises(BoomError):
        async with note.transaction() as tx:
            await write(tx, 1)
            raise BoomError
    assert await notes(note) == []


async def test_hooks_run_in_order_around_the_commit(note: Database) -> None:
    seen: list[object] = []

    async def before(tx: Tx) -> None:
        await write(tx, 2)
        seen.append("before")

    async with note.transaction() as tx:
        tx.before_commit("key", before)
        tx.before_commit("key", before)  # the same key: once
        tx.after_commit(lambda: seen.append("after"))
        await write(tx, 1)
        seen.append("body")
    assert seen == ["body", "before", "after"]
    assert await notes(note) == [1, 2]


async def test_a_caller_cancelled_right_after_its_commit_has_committed_for_its_hooks_as_well(
    note: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was claimed in advance stayed claimed, by a process that knew nothing of it."""
    seen: list[str] = []
    release = Database._release

    async def cancelled_meanwhile(self: Database, connection: Connection) -> None:
        await release(self, connection)
        raise asyncio.CancelledError

    monkeypatch.setattr(Database, "_release", cancelled_meanwhile)
    with pytest.raises(asyncio.CancelledError):
        async with note.transaction() as tx:
            tx.after_commit(lambda: seen.append("after"))
            tx.at_end(lambda: seen.append("at the end"))
            await write(tx, 1)
    monkeypatch.undo()
    assert seen == ["after", "at the end"]
    assert await notes(note) == [1]


async def test_a_hook_may_add_another_hook(note: Database) -> None:
    async def second(tx: Tx) -> None:
        await write(tx, 2)

    async def first(tx: Tx) -> None:
        tx.before_commit("second", second)

    async with note.transaction() as tx:
        tx.before_commit("first", first)
    assert await notes(note) == [2]


async def test_a_failing_hook_before_the_commit_rolls_back(note: Database) -> None:
    async def fail(_: Tx) -> None:
        raise BoomError

    after: list[str] = []
    with pytest.raises(BoomError):
        async with note.transaction() as tx:
            await write(tx, 1)
            tx.before_commit("fail", fail)
            tx.after_commit(lambda: after.append("ran"))
    assert (await notes(note), after) == ([], [])


async def test_a_failing_hook_after_the_commit_is_logged_and_the_others_run(
    note: Database, caplog: pytest.LogCaptureFixture
) -> None:
    after: list[str] = []

    def fail() -> None:
        raise BoomError

    with caplog.at_level(logging.ERROR):
        async with note.transaction() as tx:
            await write(tx, 1)
            tx.after_commit(fail)
            tx.after_commit(lambda: after.append("ran"))
    assert (await notes(note), after) == ([1], ["ran"])
    assert "a hook after a transaction failed" in caplog.text


async def test_a_cancelled_block_rolls_back_and_gives_its_connection_back(database_url: str, note: Database) -> None:
    async with open_database(DatabaseSettings(database_url, pool_size=1)) as small:
        inside = asyncio.Event()

        async def hang() -> None:
            async with small.transaction() as tx:
                await write(tx, 1)
                inside.set()
                await tx.execute("select pg_sleep(60)")

        task = asyncio.create_task(hang())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await small.fetchval("select 1") == 1
    assert await notes(note) == []


async def test_a_caller_cancelled_during_the_commit_hears_of_it_after_the_commit_and_keeps_it(note: Database) -> None:
    """The driver would cancel the COMMIT on the server, and nobody would know which of the two was first."""
    await note.execute(
        """
        create function wait_for_first_note() returns trigger language plpgsql as
        $$ begin perform from note where id = 1 for update; return null; end $$
        """
    )
    await note.execute("insert into note (id) values (1)")
    await note.execute(
        "create constraint trigger slow_commit after insert on note deferrable initially deferred"
        " for each row execute function wait_for_first_note()"
    )

    async def work() -> None:
        async with note.transaction() as tx:
            await write(tx, 2)

    async with note.transaction() as holder:
        await holder.execute("select from note where id = 1 for update")
        working = asyncio.ensure_future(work())
        async with asyncio.timeout(10):
            while not await holder.fetchval(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock' and query = 'COMMIT'"
            ):
                await holder.execute("select pg_stat_clear_snapshot()")
                await asyncio.sleep(0.005)
        working.cancel()
        await asyncio.sleep(0)
        assert not working.done()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await notes(note) == [1, 2]


async def test_a_cancelled_statement_gives_its_connection_back(database_url: str) -> None:
    async with open_database(DatabaseSettings(database_url, pool_size=1)) as small:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await small.execute("select pg_sleep(60)")
        assert await small.fetchval("select 1") == 1


async def test_a_statement_over_the_limit_is_unavailable(database_url: str) -> None:
    settings = DatabaseSettings(database_url, statement_timeout=timedelta(milliseconds=50))
    async with open_database(settings) as hasty:
        with pytest.raises(Unavailable, match="statement timeout"):
            await hasty.execute("select pg_sleep(60)")


async def test_a_commit_whose_answer_is_lost_is_neither_success_nor_failure(note: Database, proxy: TcpProxy) -> None:
    after: list[str] = []
    async with open_database(DatabaseSettings(proxy.url(note.settings.url))) as far:
        with pytest.raises(CommitOutcomeUnknown):
            async with far.transaction() as tx:
                await write(tx, 1)
                tx.after_commit(lambda: after.append("ran"))
                proxy.lose_answer_to(b"COMMIT")
        assert await notes(note) == [1]  # this one had happened
        assert after == []
        assert await far.fetchval("select 1") == 1  # on a new connection


async def test_a_server_that_does_not_answer_any_more_is_unavailable_after_a_bounded_time(
    note: Database, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostinato.storage.connecting._NETWORK_ALLOWANCE", timedelta(0))
    settings = DatabaseSettings(proxy.url(note.settings.url), statement_timeout=timedelta(milliseconds=500))
    async with open_database(settings) as far:
        with pytest.raises(Unavailable, match="TimeoutError"):
            async with far.transaction() as tx:
                await write(tx, 1)
                proxy.black_hole()
                await write(tx, 2)
        proxy.recover()
        assert await far.fetchval("select 1") == 1
    assert await notes(note) == []


async def test_a_caller_cancelled_while_its_transaction_begins_leaves_none_to_the_next_one(
    note: Database, proxy: TcpProxy
) -> None:
    untold: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: untold.append(told))
    async with open_database(DatabaseSettings(proxy.url(note.settings.url), pool_size=1)) as far:
        assert await far.fetchval("select 1") == 1
        proxy.black_hole()

        async def transact() -> None:
            async with far.transaction() as tx:
                await write(tx, 1)

        caller = asyncio.ensure_future(transact())
        await asyncio.wait([caller], timeout=0.2)
        caller.cancel()
        await asyncio.wait([caller], timeout=0.2)
        proxy.recover()
        await asyncio.wait([caller])
        assert caller.cancelled()
        async with far.transaction() as tx:
            await write(tx, 2)
    assert await notes(note) == [2]
    assert untold == []


async def test_a_cancelled_caller_does_not_wait_for_a_server_out_of_reach(
    note: Database, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for over half a minute, and so did the drain of its process."""
    monkeypatch.setattr("ostinato.storage.commit_protocol.ANSWER_PATIENCE", 0.2)
    monkeypatch.setattr("ostinato.storage.database.ANSWER_PATIENCE", 0.2)
    async with open_database(DatabaseSettings(proxy.url(note.settings.url), pool_size=2)) as far:

        async def transact() -> None:
            async with far.transaction() as tx:
                await write(tx, 1)
                proxy.black_hole()
                await write(tx, 2)

        await asyncio.gather(far.fetchval("select 1"), far.fetchval("select 1"))
        callers = [asyncio.ensure_future(transact()), asyncio.ensure_future(far.fetchval("select pg_sleep(60)"))]
        await asyncio.wait(callers, timeout=0.3)
        untold: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: untold.append(told))
        for _ in range(2):  # a process that ends cancels what lingers once more
            for caller in callers:
                caller.cancel()
            _, late = await asyncio.wait(callers, timeout=0.05)
        _, late = await asyncio.wait(callers, timeout=5)
        await asyncio.sleep(0.5)  # the pool's own patience ends
        proxy.recover()
        assert late == set()
        assert await far.fetchval("select 1") == 1
        gc.collect()
        assert untold == []
    assert await notes(note) == []


async def test_a_connection_lost_before_the_commit_is_a_rollback(note: Database, proxy: TcpProxy) -> None:
    async with open_database(DatabaseSettings(proxy.url(note.settings.url))) as far:
        with pytest.raises(Unavailable):
            async with far.transaction() as tx:
                await write(tx, 1)
                proxy.break_all()
                await write(tx, 2)
        assert await notes(note) == []
        assert await far.fetchval("select 1") == 1


async def test_a_terminated_session_is_unavailable_and_the_next_one_is_new(note: Database) -> None:
    with pytest.raises(Unavailable):
        async with note.transaction() as tx:
            pid = await tx.fetchval("select pg_backend_pid()")
            await note.execute("select pg_terminate_backend($1)", pid)
            await write(tx, 1)
    assert await notes(note) == []


async def test_a_connection_lost_directly_after_the_commit_does_not_undo_the_success(
    note: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was told of an internal error, and the hooks for after the commit did not run."""

    async def commit_and_lose(connection: Connection, gate: Gate | None) -> None:
        await commit(connection, gate)
        asyncio.get_running_loop().call_soon(connection.terminate)

    monkeypatch.setattr("ostinato.storage.database.commit", commit_and_lose)
    after: list[str] = []
    async with note.transaction() as tx:
        await write(tx, 1)
        tx.after_commit(lambda: after.append("ran"))
    assert after == ["ran"]
    assert await notes(note) == [1]


async def test_a_side_connection_that_is_lost_is_unavailable(note: Database) -> None:
    """Its errors came through raw: the loop that listens ended silently, the one that keeps partitions its engine."""
    with pytest.raises(Unavailable):
        async with note.side_connection() as connection:
            await note.execute("select pg_terminate_backend($1)", connection.get_server_pid())
            await connection.execute("listen something")


async def test_a_savepoint_that_is_rolled_back_takes_its_statements_buffers_and_hooks_along(note: Database) -> None:
    heard: list[str] = []

    async def before(tx: Tx) -> None:
        heard.append(f"before {tx.buffers}")

    async def never(_: Tx) -> None:
        raise AssertionError("its savepoint was rolled back")

    async with note.transaction() as tx:
        await write(tx, 1)
        tx.before_commit("kept", before)
        tx.after_commit(lambda: heard.append("after, kept"))
        tx.buffers["kept"] = [1]
        with pytest.raises(BoomError):
            async with tx.savepoint():
                await write(tx, 2)
                tx.before_commit("undone", never)
                tx.after_commit(lambda: heard.append("after, undone"))
                tx.buffers["kept"].append(2)
                tx.buffers["undone"] = [3]
                raise BoomError
        tx.buffers["kept"].append(4)
        await write(tx, 5)
    assert heard == ["before {'kept': [1, 4]}", "after, kept"]
    assert await notes(note) == [1, 5]


async def test_a_savepoint_that_ends_well_keeps_all_until_the_one_around_it_is_rolled_back(note: Database) -> None:
    async with note.transaction() as tx:
        with pytest.raises(BoomError):
            async with tx.savepoint():
                async with tx.savepoint():
                    await write(tx, 1)
                    tx.buffers["inner"] = [1]
                assert tx.buffers == {"inner": [1]}
                raise BoomError
        assert tx.buffers == {}
        async with tx.savepoint():
            await write(tx, 2)
    assert await notes(note) == [2]


async def test_a_statement_that_fails_in_a_savepoint_leaves_the_transaction_usable(note: Database) -> None:
    async with note.transaction() as tx:
        await write(tx, 1)
        with pytest.raises(DatabaseError):
            async with tx.savepoint():
                await write(tx, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), tx.savepoint():
                await tx.execute("select pg_sleep(10)")
        await write(tx, 2)
    assert await notes(note) == [1, 2]


async def test_a_swallowed_statement_error_does_not_pass_for_a_commit(note: Database) -> None:
    with pytest.raises(Contention, match="ROLLBACK"):
        async with note.transaction() as tx:
            await write(tx, 1)
            with pytest.raises(DatabaseError):
                await write(tx, 1)
    assert await notes(note) == []


async def test_a_deadlock_is_contention_and_transact_tries_again(note: Database) -> None:
    await note.execute("insert into note (id) values (1), (2)")
    both_hold_one = asyncio.Barrier(2)
    attempts: list[int] = []

    async def lock(first: int, second: int) -> None:
        async def work(tx: Tx) -> None:
            attempts.append(first)
            await tx.execute("select id from note where id = $1 for update", first)
            if attempts.count(first) == 1:
                await both_hold_one.wait()
            await tx.execute("select id from note where id = $1 for update", second)

        await note.transact(work)

    await asyncio.gather(lock(1, 2), lock(2, 1))
    assert len(attempts) == 3


async def test_transact_gives_up_after_its_attempts(note: Database) -> None:
    attempts: list[int] = []

    async def work(_: Tx) -> None:
        attempts.append(1)
        raise Contention("lost the race")

    with pytest.raises(Contention):
        await note.transact(work, attempts=3)
    assert len(attempts) == 3


async def test_transact_returns_what_the_work_returns(note: Database) -> None:
    assert await note.transact(lambda tx: tx.fetchval("select 42")) == 42


async def test_a_table_changed_under_a_prepared_statement_is_contention(note: Database) -> None:
    async def read(tx: Tx) -> None:
        await tx.fetch("select * from note")

    await note.transact(read)
    await note.execute("alter table note add column more int")
    await note.transact(read)


async def test_the_time_of_a_transaction_is_read_once(note: Database) -> None:
    async with note.transaction() as tx:
        first = await tx.now()
        await tx.execute("select pg_sleep(0.01)")
        assert await tx.now() == first


async def test_a_callers_own_connection_gets_the_hooks_and_keeps_its_own_errors(note: Database) -> None:
    connection = await asyncpg.connect(note.settings.url)
    after: list[str] = []
    try:
        async with transaction_on(connection) as tx:
            tx.after_commit(lambda: after.append("ran"))
            async with connection.transaction():  # a savepoint of the caller's
                await connection.execute("insert into note (id) values (1)")
        assert (await notes(note), after) == ([1], ["ran"])
        with pytest.raises(asyncpg.UniqueViolationError):
            async with transaction_on(connection) as tx:
                tx.after_commit(lambda: after.append("ran again"))
                await connection.execute("insert into note (id) values (2)")
                await connection.execute("insert into note (id) values (1)")
        assert (await notes(note), after) == ([1], ["ran"])
    finally:
        await connection.close()


async def test_a_lost_answer_on_a_callers_own_connection_is_told_too(note: Database, proxy: TcpProxy) -> None:
    connection = await asyncpg.connect(proxy.url(note.settings.url))
    proxy.lose_answer_to(b"COMMIT")
    with pytest.raises(CommitOutcomeUnknown):
        async with transaction_on(connection) as tx:
            await write(tx, 1)
    assert await notes(note) == [1]


async def test_a_failing_transaction_on_a_lost_connection_tells_its_own_error(note: Database, proxy: TcpProxy) -> None:
    connection = await asyncpg.connect(proxy.url(note.settings.url))
    with pytest.raises(BoomError):
        async with transaction_on(connection):
            proxy.break_all()
            raise BoomError


@pytest.mark.parametrize(("tag", "rows"), [("UPDATE 3", 3), ("INSERT 0 12", 12), ("DELETE 0", 0)])
def test_a_command_tag_tells_how_many_rows(tag: str, rows: int) -> None:
    assert affected(tag) == rows
