"""A project in the test's hands, beside the servers that are sent bad input."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, open_dispatcher
from tests.integration.engine.stage import Stage


@pytest.fixture
async def dispatcher(database: Database) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(database, classes=ENGINE_TASK_CLASSES, notify=False) as opened:
        yield opened


@pytest.fixture
def stage(database: Database, dispatcher: Dispatcher) -> Stage:
    return Stage(database, dispatcher)
