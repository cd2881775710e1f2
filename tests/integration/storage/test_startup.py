from __future__ import annotations

import logging
import secrets

import asyncpg
import pytest

from ostinato.clock import SystemClock
from ostinato.errors import Unavailable
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES, TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.migrate import STORAGE_LINE, migrate
from ostinato.storage.startup import check_database, open_database_when_ready, require_schema
from ostinato.taskqueue import open_dispatcher
from ostinato.testing.postgres import ALL_LINES, create_template, drop_database, with_database
from ostinato.testing.tcp_proxy import open_tcp_proxy


class ImpatientClock(SystemClock):
    """Runs `during` instead of the third pause; more than ten pauses mean that nothing is waited for."""

    def __init__(self, during) -> None:
        self.pauses: list[float] = []
        self._during = during

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert len(self.pauses) < 10
        if len(self.pauses) == 3:
            await self._during()


async def migrate_all(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection, ALL_LINES)
    finally:
        await connection.close()


async def test_a_service_waits_for_the_schema_and_says_so(
    empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ImpatientClock(lambda: migrate_all(empty_database_url))
    with caplog.at_level(logging.WARNING):
        async with open_database_when_ready(DatabaseSettings(empty_database_url), ALL_LINES, clock=clock) as database:
            await check_database(database)
    assert clock.pauses == [0.1, 0.2, 0.4]
    assert caplog.messages[0] == "waiting: the schema lacks storage/0001: run `ostinato migrate`"


async def test_a_service_waits_for_a_server_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    class ServerIsBackError(Exception):
        pass

    async def give_up() -> None:
        raise ServerIsBackError

    nobody = DatabaseSettings("postgresql://postgres@127.0.0.1:1/postgres")
    with caplog.at_level(logging.WARNING), pytest.raises(ServerIsBackError):
        async with open_database_when_ready(nobody, ALL_LINES, clock=ImpatientClock(give_up)):
            raise AssertionError("there is no server on port 1")
    assert len(caplog.messages) == 3
    assert "refused" in caplog.messages[0] or "Connect call failed" in caplog.messages[0]


async def test_a_service_waits_for_a_database_that_has_not_been_created_yet(
    postgres_server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended with exit code 1."""
    name = f"late_{secrets.token_hex(4)}"
    settings = DatabaseSettings(with_database(postgres_server_url, name))
    clock = ImpatientClock(lambda: create_template(postgres_server_url, name))
    with caplog.at_level(logging.WARNING):
        async with open_database_when_ready(settings, ALL_LINES, clock=clock) as database:
            await check_database(database)
    await drop_database(postgres_server_url, name)
    assert caplog.messages[0] == f'waiting: database: database "{name}" does not exist'


async def test_a_database_that_goes_away_between_two_steps_of_a_start_is_waited_for_too(database_url: str) -> None:
    """A service that was killed by a fault of its database, half a second after it had seen it ready."""
    async with (
        open_tcp_proxy(database_url) as proxy,
        open_database(DatabaseSettings(proxy.url(database_url))) as database,
    ):
        proxy.go_down()

        async def recover() -> None:
            proxy.recover()

        async with open_dispatcher(
            database, classes=ENGINE_TASK_CLASSES, clock=ImpatientClock(recover), notify=False
        ) as dispatcher:
            await dispatcher.add(TRIAGE_JOB, TriageJobTask(job_id=1))
        assert await database.fetchval("delete from tq_ready returning true")


async def test_a_schema_older_than_the_build_is_told_by_its_line(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection, [STORAGE_LINE])
    await connection.close()
    async with open_database_when_ready(
        DatabaseSettings(empty_database_url), [STORAGE_LINE], clock=SystemClock()
    ) as database:
        with pytest.raises(Unavailable, match="the schema lacks taskqueue/"):
            await require_schema(database, ALL_LINES)


async def test_a_schema_newer_than_the_build_is_fine(database: Database) -> None:
    await database.execute(
        "insert into ostinato_migration (line, version, name, digest) values ('storage', 9999, 'later', '')"
    )
    await require_schema(database, ALL_LINES)
