"""The subscriptions of an ingester: a loop for each publisher, on shared clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import aiohttp

from ostinato.clock import Clock
from ostinato.config.pubsub import PubSubSettings
from ostinato_ingester.publisher_accounts import PublisherAccounts
from ostinato_ingester.pubsub_clients import open_pubsub_clients
from ostinato_ingester.pubsub_intake import PubSubIntake
from ostinato_ingester.pubsub_metrics import PubSubMetrics
from ostinato_ingester.subscriber_loop import SubscriberLoop, Subscribing


class Subscriptions:
    """Running ones."""

    def __init__(self, loops: Sequence[SubscriberLoop], tasks: Sequence[asyncio.Task[None]]) -> None:
        self._loops = loops
        self._tasks = tasks

    async def drain(self, grace: timedelta) -> None:
        """Stops pulling; returns when what came is committed and acknowledged, or given back after `grace`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(loop.drain(grace) for loop in self._loops))


@asynccontextmanager
async def open_subscriptions(
    settings: PubSubSettings, intake: PubSubIntake, *, clock: Clock, metrics: PubSubMetrics
) -> AsyncIterator[Subscriptions]:
    """Runs during the block; drain before its end. A loop that dies takes the block down with it."""
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(open_pubsub_clients(settings.server_address))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        shared = Subscribing(settings, clients, PublisherAccounts(session), intake, clock, metrics)
        loops = [SubscriberLoop(publisher, shared) for publisher in settings.publishers]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        subscriptions = Subscriptions(loops, [group.create_task(loop.run()) for loop in loops])
        # Where nobody drained because opening something else failed.
        stack.push_async_callback(subscriptions.drain, timedelta(0))
        yield subscriptions
