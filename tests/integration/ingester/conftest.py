"""An ingester in this process on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.running_work import ingester_settings


@pytest.fixture
async def ingester(database_url: str) -> AsyncIterator[Ingester]:
    async with open_ingester(ingester_settings(database_url)) as opened:
        yield opened
