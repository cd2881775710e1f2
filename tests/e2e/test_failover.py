"""The primary dies and a synchronous standby is promoted: all goes on there, and nothing was lost or doubled."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from chaos.evidence import collect
from chaos.installation import open_services
from chaos.load import open_load
from chaos.postgres import Postgres, open_postgres
from chaos.target import open_target
from ostinato.storage.embedded.server import EmbeddedServer
from ostinato.testing.standby import Standby, open_standby
from tests.e2e.ways import RATE, not_behind_pgbouncer, open_tasks_way

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

RECOVERY_SECONDS = 10


class Pair(Postgres):
    """Two servers behind one address of two hosts."""

    def __init__(self, server: EmbeddedServer, standby: Standby) -> None:
        super().__init__(server)
        self._standby = standby

    @property
    def url(self) -> str:
        return self._standby.either_url(super().url)

    @property
    def owner_url(self) -> str:
        return self._standby.either_url(super().owner_url)


@not_behind_pgbouncer
async def test_a_promoted_standby_takes_over(home: Path) -> None:
    async with (
        open_target(seed=2) as target,
        open_postgres(home / "primary", home / "primary.log") as primary,
        open_standby(primary.server, home / "standby") as standby,
        open_tasks_way(home) as cloud,
        open_services(Pair(primary.server, standby), target, home, cloud=cloud) as installed,
    ):
        await installed.begin()
        async with open_load(installed, RATE, seed=2) as load:
            await load.works_again()
            assert primary.server.process
            primary.server.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(primary.server.process.wait)
            await asyncio.sleep(1)
            await standby.promote()
            async with asyncio.timeout(60):
                assert await load.works_again() < RECOVERY_SECONDS
            assert await load.settle() == []
            evidence = await collect(installed.postgres.owner_url)
        assert {rule: found for rule, found in load.audit(evidence).items() if found} == {}
        assert len(load.emitter.accepted) > 100
