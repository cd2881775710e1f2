"""A local Pub/Sub for one test, whose time the test moves on, and whoever publishes there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from google.pubsub_v1 import types

from ostinato.clock import SystemClock
from ostinato.config import IngesterSettings
from ostinato.config.pubsub import Publisher, PubSubSettings
from ostinato.localcloud.faults import Fault, FaultKind, FaultPlan
from ostinato.localcloud.pubsub.open_pubsub import open_pubsub
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.server import open_grpc_server
from ostinato_ingester.pubsub_clients import PubSubClients, open_pubsub_clients
from tests.integration.ingester.running_work import ingester_settings, issue_token

PROJECT = "shop-1"
WORKER = "worker@shop.example"
TOPIC = f"projects/{PROJECT}/topics/ostinato.http.worker~shop.example"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/ostinato.http.worker~shop.example"
LONG = timedelta(minutes=10)


class JumpingClock(SystemClock):
    """Runs as any other, and jumps ahead when it is told to: whoever sleeps wakes early."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)
        self._jumped = asyncio.Event()

    def jump(self, by: timedelta) -> None:
        self._ahead += by
        self._jumped.set()
        self._jumped = asyncio.Event()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        due = self.monotonic() + seconds
        while (left := due - self.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._jumped.wait()
            except TimeoutError:
                return


@dataclass
class LocalPubSub:
    address: str
    clock: JumpingClock
    faults: FaultPlan
    clients: PubSubClients

    def settings(self, database_url: str, **pubsub: object) -> IngesterSettings:
        chosen = PubSubSettings(project=PROJECT, publishers=(Publisher("http", WORKER),), server_address=self.address)
        return replace(ingester_settings(database_url), pubsub=replace(chosen, **pubsub))  # type: ignore[arg-type]

    async def publish(self, data: bytes | None = None, *, token: str | None = None, **attributes: str) -> str:
        """A good report unless something else is given; its message id."""
        attributes = {"notification_token": issue_token() if token is None else token} | attributes
        message = types.PubsubMessage(
            data=json.dumps({"status": "SUCCEEDED"}).encode() if data is None else data, attributes=attributes
        )
        answer = await self.clients.publisher.publish(topic=TOPIC, messages=[message])
        return str(answer.message_ids[0])

    async def until_prepared(self) -> None:
        async def prepared() -> bool:
            found = await self.clients.subscriber.list_subscriptions(project=f"projects/{PROJECT}")
            return SUBSCRIPTION in [each.name async for each in found]

        await until(prepared)

    async def left(self) -> list[str]:
        """Ids of messages that nobody acknowledged. Ends the leases of all; a marker tells that there are no more.

        Asked twice: a message whose lease has ended, as one given to a stream that was just ending, waits a little.
        """
        found, markers = dict[str, None](), set[str]()
        for _ in range(2):
            self.clock.jump(LONG)
            marker, seen = await self.publish(b"marker"), list[str]()
            while marker not in seen:
                answer = await self.clients.subscriber.pull(subscription=SUBSCRIPTION, max_messages=100)
                seen += [received.message.message_id for received in answer.received_messages]
            found |= dict.fromkeys(seen)
            markers.add(marker)
        return [each for each in found if each not in markers]

    def counting(self, method: str) -> Callable[[], int]:
        """How often it is called from now on."""
        self.faults.add(Fault(method, FaultKind.SLOW))
        planned = self.faults.planned()[-1]
        return lambda: planned.seen


@asynccontextmanager
async def open_local_pubsub(tokens: TokenIssuer | None = None) -> AsyncIterator[LocalPubSub]:
    clock, faults = JumpingClock(), FaultPlan()
    tokens = tokens or TokenIssuer("http://127.0.0.1/issuer")
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_pubsub(clock=clock, faults=faults, tokens=tokens))
        server = await stack.enter_async_context(
            open_grpc_server("127.0.0.1:0", services, interceptors=[], grace=timedelta(0))
        )
        clients = await stack.enter_async_context(open_pubsub_clients(server.address))
        yield LocalPubSub(server.address, clock, faults, clients)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0.01)
