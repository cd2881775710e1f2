"""A dispatcher whose tasks wait in Cloud Tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher
from tests.integration.taskqueue.contract.conftest import CLASSES
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_remote_dispatcher


@pytest.fixture
async def dispatcher(cloud: LocalCloud, database: Database) -> AsyncIterator[Dispatcher]:
    async with open_remote_dispatcher(cloud, database, CLASSES) as (opened, _):
        yield opened
