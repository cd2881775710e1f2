"""An api in this process, on a database of the test's own, beside an engine's triage in the test's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, open_dispatcher
from tests.integration.api.served_api import Client, open_served_api
from tests.integration.engine.stage import Stage


@pytest.fixture
async def dispatcher(database: Database) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(database, classes=ENGINE_TASK_CLASSES, notify=False) as opened:
        yield opened


@pytest.fixture
def stage(database: Database, dispatcher: Dispatcher) -> Stage:
    return Stage(database, dispatcher)


@pytest.fixture
async def api(database: Database, dispatcher: Dispatcher) -> AsyncIterator[Client]:
    async with open_served_api(database, dispatcher) as client:
        yield client
