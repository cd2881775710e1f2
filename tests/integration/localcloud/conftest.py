"""A local Cloud Tasks of its own for each test, with the queue `q`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ostinato.localcloud.tokens import TokenIssuer
from tests.integration.localcloud.served_cloud_tasks import Cloud, open_cloud


@pytest.fixture(scope="session")
def tokens() -> TokenIssuer:
    """One for all: making a key takes longer than a test."""
    return TokenIssuer("http://127.0.0.1/issuer")


@pytest.fixture
async def cloud(tokens: TokenIssuer) -> AsyncIterator[Cloud]:
    async with open_cloud(tokens) as opened:
        await opened.create_queue()
        yield opened
