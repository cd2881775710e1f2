"""Cloud Tasks on loopback, wherever a test's tasks wait there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_local_cloud


@pytest.fixture
async def cloud() -> AsyncIterator[LocalCloud]:
    async with open_local_cloud() as opened:
        yield opened
