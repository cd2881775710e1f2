"""A local Cloud Tasks of its own for each test, with the queue `q`; and places that speak Pub/Sub, with a topic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ostinato.clock import SystemClock
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.tokens import TokenIssuer
from tests.integration.localcloud.served_cloud_tasks import Cloud, ManualClock, Target, open_cloud, open_target
from tests.integration.localcloud.served_pubsub import PubSub, open_clients, open_emulator, open_ours, why_no_emulator


@pytest.fixture(scope="session")
def tokens() -> TokenIssuer:
    """One for all: making a key takes longer than a test."""
    return TokenIssuer("http://127.0.0.1/issuer")


@pytest.fixture
async def cloud(tokens: TokenIssuer) -> AsyncIterator[Cloud]:
    async with open_cloud(tokens) as opened:
        await opened.create_queue()
        yield opened


@pytest.fixture(scope="session")
def emulator_address() -> Iterator[str]:
    if reason := why_no_emulator():
        pytest.skip(reason)
    with open_emulator() as address:
        yield address


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def faults() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
async def pubsub(tokens: TokenIssuer, clock: ManualClock, faults: FaultPlan) -> AsyncIterator[PubSub]:
    """Ours, in which time passes when the test says so."""
    async with open_ours(tokens, clock, faults) as opened:
        yield opened


@pytest.fixture(params=["ours", "emulator"])
async def place(request: pytest.FixtureRequest, tokens: TokenIssuer) -> AsyncIterator[PubSub]:
    """What holds here holds for both."""
    if request.param == "ours":
        async with open_ours(tokens, SystemClock(), FaultPlan()) as opened:
            yield opened
    else:
        async with open_clients(request.getfixturevalue("emulator_address")) as opened:
            yield opened


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with open_target() as opened:
        yield opened
